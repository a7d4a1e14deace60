#!lua flags=allow-oom
-- stream_delete_events: removes single events. Groups keep those that they have delivered.
-- KEYS  1 the stream  2 its m; beside it what group_core names
-- ARGV  1 how a history begins, see open  2 the channel, where it is told that what messages have carried is out of date  3... ids
-- Answers how many were there.
if call('EXISTS', KEYS[1]) == 0 then return 0 end
local st = open(KEYS[1], string.sub(KEYS[2], 1, -2), ARGV[1])
local goes = {}
for i = 3, #ARGV do goes[ARGV[i]] = true end
rescue(st, function(entry) return goes[entry[1]] end, true)
local n = 0
for id in pairs(goes) do n = n + call('XDEL', KEYS[1], id) end
if n > 0 then
  call('HINCRBY', KEYS[2], 'r', n)
  call('PUBLISH', ARGV[2], '')
end
return n
