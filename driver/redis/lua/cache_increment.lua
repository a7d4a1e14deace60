#!lua
-- cache_increment: adds to a counter, which an absent key is with the value 0.
-- KEYS  1 the counter (string, decimal)
-- ARGV  1 how much, decimal
--       2 its life: ms, "keep" that of the counter before, "none"
-- Answers the new value as text, since Lua has no integers of 64 bits.
local key, life = KEYS[1], ARGV[2]
local sum = redis.pcall('INCRBY', key, ARGV[1]) -- the first write, and refused whole
if type(sum) == 'table' then
  local err = sum.err or ''
  if string.find(err, 'overflow', 1, true) then
    return redis.error_reply('RPW conflict the counter is ' .. redis.call('GET', key) .. '; adding ' .. ARGV[1] .. ' overflows 64 bits')
  elseif string.find(err, 'not an integer', 1, true) or string.find(err, 'WRONGTYPE', 1, true) then
    return redis.error_reply('RPW conflict the key holds no counter (decimal text of 64 bits)')
  end
  return sum
end
if life == 'none' then
  redis.call('PERSIST', key)
elseif life ~= 'keep' then
  redis.call('PEXPIRE', key, life)
end
return redis.call('GET', key)
