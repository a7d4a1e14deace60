#!lua flags=no-writes
-- Names of queues, in order.
-- KEYS: 1 the index of names, 2 when each was registered. ARGV: 1 and 2 the range, 3 how many at most.
-- Answer: names, each with when it was registered.

local names = redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'BYLEX', 'LIMIT', 0, ARGV[3])
if #names == 0 then return {} end
local at = redis.call('HMGET', KEYS[2], unpack(names))
local answer = {}
for i, name in ipairs(names) do
  answer[2 * i - 1] = name
  answer[2 * i] = at[i] or ''
end
return answer
