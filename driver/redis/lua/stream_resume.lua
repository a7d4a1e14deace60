#!lua flags=allow-oom
-- stream_resume: applies the retention by age, and tells whether history is missing after a place.
-- KEYS  1 the stream  2 its m; beside it what trimming needs, see group_core
-- ARGV  1 how a history begins, see open  2 the epoch of the place ("": just look)  3 its id  4 its count
-- Answers {the present epoch}, or {epoch, kind of the gap, missed, resume}.
local st = open(KEYS[1], string.sub(KEYS[2], 1, -2), ARGV[1])
retain(st, -1, st.age)
if ARGV[2] == '' then return {st.epoch} end
local kind, missed = resume(st, ARGV[2], ARGV[3], tonumber(ARGV[4]), call('XRANGE', KEYS[1], ARGV[3], '+', 'COUNT', 1))
if not kind then return {st.epoch} end
return {st.epoch, kind, text(missed), oldest(st)}
