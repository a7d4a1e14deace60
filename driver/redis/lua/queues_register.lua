#!lua
-- Registers queues, so that they can be found by name.
-- KEYS: 1 the index of names, 2 when each was registered. ARGV: the names.

local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000000 + clock[2])
for _, name in ipairs(ARGV) do
  redis.call('ZADD', KEYS[1], 0, name)
  redis.call('HSET', KEYS[2], name, now)
end
return #ARGV
