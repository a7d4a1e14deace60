#!lua flags=no-writes
-- Workers, by name and id.
-- KEYS: 1 the index, 2 sessions. ARGV: 1 and 2 the range, 3 how many at most.
-- Answer: the store's time, then for each worker its place in the index and its session.

local clock = redis.call('TIME')
local answer = {clock[1] * 1000000 + clock[2]}
local places = redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'BYLEX', 'LIMIT', 0, ARGV[3])
if #places == 0 then return answer end
local ids = {}
for i, place in ipairs(places) do ids[i] = place:match('\n(.*)$') end
for i, session in ipairs(redis.call('HMGET', KEYS[2], unpack(ids))) do
  answer[2 * i] = places[i]
  answer[2 * i + 1] = session
end
return answer
