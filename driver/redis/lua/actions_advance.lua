#!lua flags=allow-oom
-- Advance: moves of claimed actions, each fenced by its token.
-- ARGV from 4: the moves; of each the id, and to complete it the token as it is stored, and the output; else "" and the move, packed.
-- Answer: nothing, if all moves have completed their actions; else for each 0, if it has, or its code, the state of the action, the end of its lease or 0, and whether a
-- cancel was requested.

local last, refused = recall()
if refused then return refused end
if last then return last end
if advance() then
  save()
  return 'behind'
end

local list = {}
for i = 4, #ARGV, 3 do list[#list + 1] = ARGV[i] end
load(list)

-- complete completes an action to which nothing else has happened than its claim; false: this is none, or the lease does not hold.
local hset, leaving, ended = {}, {}, 0
local spans = {} -- by retention, start and lease: when the lease ended, the end of the retention, and the ids
local finished, mark = struct.pack('>I8', now), string.char(ENDED_PLAINLY)
local function complete(id, token, output)
  local blob = blobs[id]
  if records[id] ~= nil or not blob or blob:byte(-1) ~= LEASED or blob:sub(TOKEN_AT, TOKEN_AT + 7) ~= token then return false end
  local span = blob:sub(SPAN_AT, TOKEN_AT - 1)
  local of = spans[span]
  if not of then
    local keep, _, at, lease = struct.unpack('>i8BI8I5', span)
    of = {at + lease, kept_until(COMPLETED, now, keep), {}}
    spans[span] = of
  end
  leaving[id], of[3][#of[3] + 1], ended = of[1], id, ended + 1
  blob = blob .. finished .. output .. mark
  local n = #hset
  blobs[id], hset[n + 1], hset[n + 2] = blob, id, blob
  if is_watched then changed[#changed + 1], is_over[id] = id, true end
  return true
end

local answer = {}
for i, id in ipairs(list) do
  local how, what = ARGV[3 * i + 2], ARGV[3 * i + 3]
  if how ~= '' and complete(id, how, what) then
    answer[i] = 0
  else
    answer[i] = careful().move(how == '' and cmsgpack.unpack(what) or {id, (struct.unpack('>I8', how)), COMPLETE, what})
  end
end
if ended == #list then answer = {} end
remember(answer)
if ended > 0 then
  each('HSET', RECORDS, hset)
  leave(RUN, leaving)
  for _, of in pairs(spans) do
    if of[2] then
      join(DONE, text(of[2]), of[3], BUNDLE)
      sooner(RETIRE, of[2])
    end
  end
  queue[COUNT + RUNNING], queue[COUNT + COMPLETED] = queue[COUNT + RUNNING] - ended, queue[COUNT + COMPLETED] + ended
  dirty = true
end
save()
return answer
