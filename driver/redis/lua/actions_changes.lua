#!lua flags=allow-oom
-- Changes: what happened to an action after a number.
-- ARGV: 4 the id, 5 after which number, 6 how many at most, 7 whether only the end counts, 8 whether the caller waits if there is nothing.
-- Answer: a code (OK ...), the number of the newest change, in how many µs time alone changes the action (-1: not at all), the numbers of the
-- first and last change to be told, that of the first one within the record and these, then those before.

local OK <const> = 0
local NOT_FOUND <const> = 1
local AHEAD <const> = 2
local TRIMMED <const> = 3

local id, after, most = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local final, waits = ARGV[7] == '1', ARGV[8] == '1'

if advance() then
  save()
  return 'behind'
end
load({id})
local r = find(id)
save()
if not r then return {NOT_FOUND, 0, -1} end

local seq = r[SEQ]
local first, last = after + 1, math.min(after + most, seq)
if after > seq then return {AHEAD, seq, -1} end
if final then
  first, last = seq, r[STATE] > RUNNING and after < seq and seq or 0
elseif first < seq - KEPT + 1 then
  return {TRIMMED, seq, -1}
end

local at = 0
if r[STATE] == RUNNING then
  at = lease_end(r)
elseif r[STATE] == PENDING then
  at = r[IS_DUE]
else
  at = kept_until(r[STATE], r[FINISHED], r[KEEP + r[STATE]]) or 0
end
local answer = {OK, seq, wait_for(at)}
if first <= last then
  answer = {OK, seq, wait_for(at), first, last, r[FIRST], r[HISTORY]}
  local fields = {}
  for n = first, math.min(last, r[FIRST] - 1) do fields[#fields + 1] = id .. '/' .. n end
  for _, change in ipairs(each('HMGET', LOG, fields)) do answer[#answer + 1] = change end
elseif waits then
  redis.call('SADD', WATCHED, id)
  redis.call('PEXPIRE', WATCHED, WATCH_TTL)
  queue[WATCHED_UNTIL], dirty = now + WATCH_TTL * 1000, true
  save()
end
return answer
