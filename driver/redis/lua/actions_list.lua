#!lua flags=allow-oom
-- List and Count: a slice of the queue's actions in order of creation, filtered.
-- ARGV: 4 from which time of creation, 5 before which, 6 whether backwards, 7 how many matches at most (0: no bound), 8 the states ("": all, else
-- digits), 9 the beginning of the name, 10 a label.
-- Answer: the time to go on from, or before, if backwards ("": this was all), then the id, the time of creation and the state of each match.

if advance() then
  save()
  return 'behind'
end
local PAGE <const> = 50 -- bundles that are read at once

local reverse, most, states, prefix, label = ARGV[6] == '1', tonumber(ARGV[7]), ARGV[8], ARGV[9], ARGV[10]

local low, high = tonumber(ARGV[4]), tonumber(ARGV[5])
local begin = redis.call('ZRANGE', INDEX, ARGV[4], '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')[2] or ARGV[4] -- of the bundle with the first of them
local list, at, some, last = {}, 0, nil, 0
repeat
  if reverse then
    some = redis.call('ZRANGE', INDEX, '(' .. ARGV[5], begin, 'BYSCORE', 'REV', 'LIMIT', at, PAGE, 'WITHSCORES')
  else
    some = redis.call('ZRANGE', INDEX, begin, '(' .. ARGV[5], 'BYSCORE', 'LIMIT', at, PAGE, 'WITHSCORES')
  end
  for i = 1, #some, 2 do
    if #list >= SLICE then break end
    local of = bundled(some[i])
    for j = 1, #of do list[#list + 1] = of[reverse and #of + 1 - j or j] end
    last = tonumber(some[i + 1])
  end
  at = at + PAGE
until #list >= SLICE or #some < 2 * PAGE
load(list)

local function has(labels, wanted)
  for _, l in ipairs(labels) do
    if l == wanted then return true end
  end
  return false
end

local function selects(r)
  if states ~= '' and not states:find(r[STATE], 1, true) then return false end
  if prefix == '' and label == '' then return true end
  local spec = spec_of(blobs[ids[r]])
  if not spec then return false end -- lost by a server that may drop keys
  spec = cmsgpack.unpack(spec)
  return spec[1]:sub(1, #prefix) == prefix and (label == '' or has(spec[3], label))
end

local answer, is_all = {''}, #list < SLICE
for i, id in ipairs(list) do
  local r = find(id)
  local created = r and r[CREATED] or -1
  if created >= low and created < high then
    if not reverse then last = math.max(last, created) end
    if selects(r) then
      answer[#answer + 1] = id
      answer[#answer + 1] = created
      answer[#answer + 1] = r[STATE]
      if (#answer - 1) / 3 == most and i < #list then
        last, is_all = created, false
        break
      end
    end
  end
end
if not is_all then answer[1] = text(reverse and last or last + 1) end
save()
return answer
