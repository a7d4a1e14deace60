#!lua flags=no-writes
-- cache_get: values with what remains of their lives, as of one moment.
-- KEYS  the values (strings), of one slot
-- Answers value (false: absent), PTTL, value, PTTL, ...
local answer = {}
for i, key in ipairs(KEYS) do
  answer[2 * i - 1] = redis.call('GET', key)
  answer[2 * i] = redis.call('PTTL', key)
end
return answer
