#!lua flags=allow-oom
-- Get: actions with their events.
-- ARGV: 4 whether events are asked for, from 5 the ids.
-- Answer: the actions that are there, see describe.

if advance() then
  save()
  return 'behind'
end
local wanted = {}
for i = 5, #ARGV do wanted[i - 4] = ARGV[i] end
load(wanted)
local list, seen = {}, {}
for _, id in ipairs(wanted) do
  if find(id) and not seen[id] then
    seen[id] = true
    list[#list + 1] = id
  end
end
save()
return describe({}, list, ARGV[4] == '1')
