#!lua flags=allow-oom
-- cache_delete: removes a value, if its condition holds.
-- KEYS  1 the value (string)
-- ARGV  1 the condition: "always", "equal" (to ARGV[2])
-- Answers 1 if it was there, else 0.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'string' and kind ~= 'none' then
  return redis.error_reply('RPW conflict the key holds a ' .. kind .. ', no cache value')
elseif ARGV[1] == 'equal' and kind == 'none' then
  return redis.error_reply('RPW conflict the key does not exist, so it does not hold the expected value')
elseif ARGV[1] == 'equal' and redis.call('GET', KEYS[1]) ~= ARGV[2] then
  return redis.error_reply('RPW conflict the key holds another value than expected; read it again')
end
return redis.call('UNLINK', KEYS[1])
