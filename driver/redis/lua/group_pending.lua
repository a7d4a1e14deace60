#!lua flags=no-writes
-- group_pending: lists what a group has delivered and not settled.
-- KEYS  1 the stream  2 its m; beside it what group_core names
-- ARGV  1 the group  2 the consumer ("": all)  3 the id after which to begin  4 how many
-- Answers {"1" if there is more, then for each event: id, consumer, attempt, "1" if leased, until (ms), reason}.
local g = load(string.sub(KEYS[2], 1, -2), ARGV[1])
if not g then fail('not_found', NO_GROUP) end
local now = clock()
local most = tonumber(ARGV[4])
local found = {}
eachpending(g, function(id, lot, j, record)
  local holder
  if lot then holder = lot.c else holder = record.h end
  if (ARGV[2] == '' or holder == ARGV[2]) and before(ARGV[3], id) then found[#found + 1] = {id, lot, j, record, holder} end
end)
table.sort(found, function(a, b) return before(a[1], b[1]) end)
local answer = {#found > most and '1' or ''}
local function add(...)
  for _, v in ipairs({...}) do answer[#answer + 1] = v end
end
for i = 1, math.min(most, #found) do
  local id, lot, j, record, holder = unpack(found[i], 1, 5)
  if lot then
    local ends = lot.o and lot.o[j] or lot.u
    add(id, holder, text(record and record.n or 1), ends > now and '1' or '', text(ends), record and record.r or '')
  else
    add(id, holder or '', text(record.n), '', text(record.l), record.r or '')
  end
end
return answer
