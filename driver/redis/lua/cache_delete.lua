#!lua flags=allow-oom
-- cache_delete: removes a value, if it is what the caller thinks.
-- KEYS  1 the value (string)
-- ARGV  1 "" always, "=" if the value equals ARGV[2]
-- Answers 1 if it was there, else 0.
local old = redis.call('GET', KEYS[1])
if ARGV[1] == '=' and old ~= ARGV[2] then
  return redis.error_reply('RPW conflict the key does not hold the given bytes')
end
if not old then return 0 end
return redis.call('UNLINK', KEYS[1])
