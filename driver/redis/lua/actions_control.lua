#!lua flags=allow-oom
-- Control: commands to actions and to the queue, each for itself.
-- ARGV from 4: the commands, packed.
-- Answer: whether the queue is new; then for each command its code (OK ...), the state of the action, and what its worker must be
-- told: 0, or the worker, the token, the reason and the end of the grace.

local CANCEL <const> = 1
local RETRY <const> = 2
local DELETE <const> = 3
local RESCHEDULE <const> = 4
local PAUSE <const> = 5
local RESUME <const> = 6
local OK <const> = 0
local NOT_FOUND <const> = 1
local IS_FINISHED <const> = 2
local CONFLICT <const> = 3
local KEY_TAKEN <const> = 4

-- Fields of a command.
local C_KIND <const> = 1
local C_ID <const> = 2
local C_DELAY <const> = 3
local C_RUN_AT <const> = 4
local C_REASON <const> = 5

local last, refused = recall()
if refused then return refused end
if last then return last end
if advance() then
  save()
  return 'behind'
end

local commands, wanted = {}, {}
for i = 4, #ARGV do
  local c = cmsgpack.unpack(ARGV[i])
  commands[#commands + 1] = c
  if c[C_ID] ~= '' then wanted[#wanted + 1] = c[C_ID] end
end
load(wanted)

-- cancel ends a pending action, and asks the holder of a running one to stop.
local function cancel(r, reason)
  if r[STATE] == RUNNING then
    if r[CANCEL_AT] == 0 then
      r[CANCEL_AT], r[REASON] = now, reason
      note(r, 'cancel', now, r[WORKER], 0, cancel_failure(r))
    end
    return OK, {r[WORKER], r[TOKEN], r[REASON], r[CANCEL_AT] + r[GRACE]}
  elseif r[STATE] == CANCELLED then
    return OK
  elseif r[STATE] > RUNNING then
    return IS_FINISHED
  end
  r[CANCEL_AT], r[REASON] = now, reason
  finish(r, CANCELLED, now)
  note(r, 'cancelled', now, '', 0, cancel_failure(r))
  return OK
end

-- retry lets a failed or cancelled action begin again.
local function retry(r, delay)
  if r[STATE] == COMPLETED then return IS_FINISHED end
  if r[STATE] <= RUNNING then return CONFLICT end
  local key = r[KEY]
  if key ~= '' then
    local holder = keys[key]
    if holder == nil then holder = redis.call('HGET', UNIQUE, key) end
    if holder then
      load({holder})
      if find(holder) and keys[key] ~= false then return KEY_TAKEN end
    end
    keys[key] = ids[r]
  end
  r[ATTEMPT], r[FINISHED], r[CANCEL_AT], r[REASON] = 0, 0, 0, ''
  r[START_BY] = r[WITHIN] > 0 and now + r[WITHIN] or 0
  pend(r, now + delay)
  note(r, 'rescheduled', now, '', r[RUN_AT])
  return OK
end

local function reschedule(r, c)
  if r[STATE] > RUNNING then return IS_FINISHED end
  if r[STATE] == RUNNING then return CONFLICT end
  r[RUN_AT] = c[C_RUN_AT] > now and c[C_RUN_AT] or now + c[C_DELAY]
  note(r, 'rescheduled', now, '', r[RUN_AT])
  return OK
end

local function pause(paused)
  if queue[PAUSED] == paused then return end
  queue[PAUSED], dirty = paused, true
  if paused == 0 then ready_before = 0 end -- who waits hears of what is ready
end

local answer = {is_new and 1 or 0}
for _, c in ipairs(commands) do
  local kind, code, state, signal = c[C_KIND], OK, 0, 0
  if kind == PAUSE or kind == RESUME then
    pause(kind == PAUSE and 1 or 0)
  else
    local r = find(c[C_ID])
    if not r then
      code = NOT_FOUND
    elseif kind == CANCEL then
      local told
      code, told = cancel(r, c[C_REASON])
      signal = told or 0
    elseif kind == RETRY then
      code = retry(r, c[C_DELAY])
    elseif kind == RESCHEDULE then
      code = reschedule(r, c)
    elseif r[STATE] == RUNNING then
      code = CONFLICT
    else
      remove(r)
      r = nil
    end
    state = r and r[STATE] or 0
  end
  answer[#answer + 1] = code
  answer[#answer + 1] = state
  answer[#answer + 1] = signal
end
remember(answer)
save()
return answer
