#!lua flags=allow-oom
-- Takes names off the index whose queues were found empty, unless they were registered again since, or lately.
-- KEYS: 1 the index of names, 2 when each was registered. ARGV: names, each with when it was registered.

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local MINUTE <const> = 60000000
for i = 1, #ARGV, 2 do
  local at = redis.call('HGET', KEYS[2], ARGV[i])
  if not at or at == ARGV[i + 1] and now - tonumber(at) > MINUTE then
    redis.call('ZREM', KEYS[1], ARGV[i])
    redis.call('HDEL', KEYS[2], ARGV[i])
  end
end
return 0
