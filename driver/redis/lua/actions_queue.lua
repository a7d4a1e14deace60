#!lua flags=allow-oom
-- Queues and Count: what a queue holds.
-- Answer: whether it is there, whether it is paused, how many are in each state, how many are ready, and for how long the oldest of
-- these has been.

if advance(true) then
  save()
  return 'behind'
end
save()
local head = redis.call('ZRANGE', READY, 0, 0, 'WITHSCORES')
local answer = {0, queue[PAUSED]}
local total = queue[PAUSED]
for state = PENDING, CANCELLED do
  answer[#answer + 1] = queue[COUNT + state]
  total = total + queue[COUNT + state]
end
answer[1] = total > 0 and 1 or 0
answer[#answer + 1] = queue[READY_COUNT]
answer[#answer + 1] = head[2] and math.max(0, now - tonumber(head[2])) or 0
return answer
