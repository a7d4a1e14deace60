#!lua flags=allow-oom
-- stream_locate: pins a place in a stream, whose history begins with this if there is none.
-- KEYS  1 the stream  2 its m; beside it what trimming needs, see group_core
-- ARGV  1 how a history begins, see open  2 newest, oldest, since, after or last  3 the time (ms), id or number
-- Answers "epoch id count".
local st = open(KEYS[1], string.sub(KEYS[2], 1, -2), ARGV[1])
retain(st, -1, st.age)
return locate(st, ARGV[2], ARGV[3])
