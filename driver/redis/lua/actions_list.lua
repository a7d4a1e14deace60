#!lua flags=allow-oom
-- List and Count: a slice of the queue's actions in order of creation, filtered.
-- ARGV: 4 and 5 the range of the index, 6 whether backwards, 7 how many matches at most (0: no bound), 8 the states ("": all, else
-- digits), 9 the beginning of the name, 10 a label.
-- Answer: where to go on ("": this was all), then the place in the index and the state of each match.

if advance() then
  save()
  return 'behind'
end
local reverse, most, states, prefix, label = ARGV[6] == '1', tonumber(ARGV[7]), ARGV[8], ARGV[9], ARGV[10]

local places
if reverse then
  places = redis.call('ZRANGE', INDEX, ARGV[4], ARGV[5], 'BYLEX', 'REV', 'LIMIT', 0, SLICE)
else
  places = redis.call('ZRANGE', INDEX, ARGV[4], ARGV[5], 'BYLEX', 'LIMIT', 0, SLICE)
end
local list = {}
for i, place in ipairs(places) do list[i] = place:sub(17) end
load(list)
local described = {}
if prefix ~= '' or label ~= '' then described = each('HMGET', SPECS, list) or {} end

local function has(labels, wanted)
  for _, l in ipairs(labels) do
    if l == wanted then return true end
  end
  return false
end

local function selects(r, spec)
  if states ~= '' and not states:find(r[STATE], 1, true) then return false end
  if not spec then return true end
  spec = cmsgpack.unpack(spec)
  return spec[1]:sub(1, #prefix) == prefix and (label == '' or has(spec[3], label))
end

local answer, on = {''}, #places == SLICE and places[SLICE] or ''
for i, id in ipairs(list) do
  local r = find(id)
  if r and selects(r, described[i]) then
    answer[#answer + 1] = places[i]
    answer[#answer + 1] = r[STATE]
    if (#answer - 1) / 2 == most and i < #list then
      on = places[i]
      break
    end
  end
end
answer[1] = on
save()
return answer
