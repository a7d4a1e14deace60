#!lua
-- cache_set: stores a value, if its condition holds.
-- KEYS  1 the value (string)
-- ARGV  1 the value
--       2 its life: ms, "keep" that of the value before, "none"
--       3 the condition: "always", "absent", "present", "equal" (to ARGV[4])
-- Answers OK, or an error without having written.
local key, when = KEYS[1], ARGV[3]
local kind = redis.call('TYPE', key).ok
if kind ~= 'string' and kind ~= 'none' then
  return redis.error_reply('RPW conflict the key holds a ' .. kind .. ', no cache value')
elseif when == 'absent' and kind ~= 'none' then
  return redis.error_reply('RPW conflict the key exists')
elseif when == 'present' and kind == 'none' then
  return redis.error_reply('RPW conflict the key does not exist')
elseif when == 'equal' and kind == 'none' then
  return redis.error_reply('RPW conflict the key does not exist, so it does not hold the expected value')
elseif when == 'equal' and redis.call('GET', key) ~= ARGV[4] then
  return redis.error_reply('RPW conflict the key holds another value than expected; read it again')
end
if ARGV[2] == 'none' then
  return redis.call('SET', key, ARGV[1])
elseif ARGV[2] == 'keep' then
  return redis.call('SET', key, ARGV[1], 'KEEPTTL')
end
return redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
