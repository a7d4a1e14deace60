#!lua flags=allow-oom
-- List and Count: a slice of the queue's actions in order of creation, filtered.
-- ARGV: 4 and 5 the range of the index, 6 whether backwards, 7 how many matches at most (0: no bound), 8 the states ("": all, else
-- digits), 9 the beginning of the name, 10 a label.
-- Answer: where to go on ("": this was all), then the id, the time of creation and the state of each match.

if advance() then
  save()
  return 'behind'
end
local reverse, most, states, prefix, label = ARGV[6] == '1', tonumber(ARGV[7]), ARGV[8], ARGV[9], ARGV[10]

local places
if reverse then
  places = redis.call('ZRANGE', INDEX, ARGV[4], ARGV[5], 'BYSCORE', 'REV', 'LIMIT', 0, SLICE, 'WITHSCORES')
else
  places = redis.call('ZRANGE', INDEX, ARGV[4], ARGV[5], 'BYSCORE', 'LIMIT', 0, SLICE, 'WITHSCORES')
end
local list = {}
for i = 1, #places, 2 do list[#list + 1] = places[i] end
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
  local spec = redis.call('HGET', SPECS, ids[r])
  if not spec then return false end -- lost by a server that may drop keys
  spec = cmsgpack.unpack(spec)
  return spec[1]:sub(1, #prefix) == prefix and (label == '' or has(spec[3], label))
end

local answer, on = {''}, #list == SLICE and places[#places] or ''
for i, id in ipairs(list) do
  local r = find(id)
  if r and selects(r) then
    answer[#answer + 1] = id
    answer[#answer + 1] = r[CREATED]
    answer[#answer + 1] = r[STATE]
    if (#answer - 1) / 3 == most and i < #list then
      on = places[2 * i]
      break
    end
  end
end
answer[1] = on
save()
return answer
