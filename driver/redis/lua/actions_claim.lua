#!lua flags=allow-oom
-- Claim: leases what is ready.
-- ARGV: 4 the worker, 5 how many at most, 6 the lease; 0 at most only looks.
-- Answer: how many are ready still, in how many µs to look again (-1: not at all), whether this is the answer to a call that
-- was answered before, then the actions, see describe.

if advance() then
  save()
  return 'behind'
end

store()
local worker, most, lease = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])

-- start leases a ready record: an attempt begins.
local function start(r)
  enter(r, RUNNING)
  local token = math.max(queue[LAST_TOKEN] + 1, now)
  queue[LAST_TOKEN] = token
  r[ATTEMPT] = r[ATTEMPT] + 1
  r[STARTED], r[UNTIL], r[WORKER], r[LEASE], r[TOKEN] = now, now + lease, worker, lease, token
  note(r, 'claimed', now, worker)
end

local last, refused = recall()
if refused then return refused end
local taken = {}
if last then
  load(last[1])
  for i, id in ipairs(last[1]) do
    local r = find(id)
    if r and r[STATE] == RUNNING and r[TOKEN] == last[2][i] then taken[#taken + 1] = r end
  end
elseif most > 0 and queue[PAUSED] == 0 and queue[READY_COUNT] > 0 then
  local list = redis.call('ZRANGE', READY, 0, most - 1)
  for i, member in ipairs(list) do list[i] = member:sub(9) end -- without the number of its creation
  load(list)
  local tokens = {}
  for i, id in ipairs(list) do
    local r = records[id]
    start(r)
    taken[i], tokens[i] = r, r[TOKEN]
  end
  remember({list, tokens})
end
save()
return describe({queue[PAUSED] == 1 and 0 or queue[READY_COUNT], wait_for(queue[NEXT]), last and 1 or 0}, taken)
