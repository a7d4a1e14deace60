#!lua flags=allow-oom
-- stream_trim: removes the oldest events.
-- KEYS  1 the stream  2 its m; beside it what group_core names
-- ARGV  1 how a history begins, see open  2 how many events stay ("": all)  3 how old they may be (ms; "": any age)  4 the channel,
--       where it is told that what messages have carried is out of date
-- Answers how many went.
if call('EXISTS', KEYS[1]) == 0 then return 0 end
local st = open(KEYS[1], string.sub(KEYS[2], 1, -2), ARGV[1])
local age = tonumber(ARGV[3])
local n = trim(st, tonumber(ARGV[2]), age and clock() - age)
if n > 0 then call('PUBLISH', ARGV[4], '') end
return n
