#!lua flags=allow-oom
-- stream_info: describes a stream.
-- KEYS  1 the stream  2 its m; beside it groups, and what trimming needs, see group_core
-- ARGV  1 how a history begins, see open
-- Answers {events, added, first, last, groups, keep (events), keep (ms)}, or nothing if the stream does not exist.
local tag = string.sub(KEYS[2], 1, -2)
if call('EXISTS', KEYS[1], KEYS[2]) == 0 then return false end
local st = open(KEYS[1], tag, ARGV[1])
retain(st, -1, st.age)
local keep = st.keep
if keep == 0 then keep = DEFAULT_KEEP end
return {text(st.length), text(st.added), oldest(st), ending(st), text(call('SCARD', tag .. 'groups')), text(keep), text(st.age)}
