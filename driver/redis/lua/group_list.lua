#!lua flags=allow-oom
-- group_list: describes the groups of a stream.
-- KEYS  1 the stream  2 its m; beside it groups and what group_core names
-- ARGV  1 how a history begins, see open
-- Answers what groupinfo_lib says, of each.
local tag = string.sub(KEYS[2], 1, -2)
settled()
if call('EXISTS', tag .. 'groups') == 0 then return {} end
local st = open(KEYS[1], tag, ARGV[1])
retain(st, -1, st.age)
local answer = {}
for _, name in ipairs(call('SMEMBERS', tag .. 'groups')) do
  local g = load(tag, name)
  if g then answer[#answer + 1] = groupinfo(st, g) end
end
return answer
