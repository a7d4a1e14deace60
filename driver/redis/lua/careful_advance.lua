
local RENEW <const> = 1
local PROGRESS_AND_DATA <const> = 2
local EVENT <const> = 3
local COMPLETE <const> = 4
local FAIL <const> = 5
local GIVE_BACK <const> = 6
local ACCEPT_CANCEL <const> = 7
local OK <const> = 0
local NOT_FOUND <const> = 1
local LOST <const> = 2
local GIVEN_UP <const> = 3
local FINISHED_OTHERWISE <const> = 4
local WAS_CANCELLED <const> = 5
local NO_CANCEL <const> = 6

-- Fields of a move; one that completes has the first four. TEXT is the name of an event, or the message of a failure; SPAN is a lease, or how long to wait for the next attempt.
local M_ID <const> = 1
local M_TOKEN <const> = 2
local M_KIND <const> = 3
local M_OUTPUT <const> = 4
local M_SPAN <const> = 5
local M_PROGRESS <const> = 6
local M_DATA <const> = 7
local M_TEXT <const> = 8
local M_STACK <const> = 9
local M_PERMANENT <const> = 10

-- How a lease was given up: the kind of the move, plus these.
local FINAL <const> = 10
local REFUSED <const> = 20

local data = {} -- by record: set by this call

-- data_of is the newest data of a record.
local function data_of(r)
  if r[HAS_DATA] == 0 then return '' end
  return data[r] or redis.call('HGET', LOG, ids[r] .. '/d') or ''
end

local function renew(r, lease)
  r[UNTIL] = now + lease
  touch(r)
end

-- give_up lets the holder end its lease.
local function give_up(r, m)
  local kind, code = m[M_KIND], OK
  local how = kind
  if r[CANCEL_AT] > 0 then
    end_cancelled(r, now)
    if kind == COMPLETE or kind == FAIL then code, how = WAS_CANCELLED, how + REFUSED end
  elseif kind == COMPLETE then
    finish(r, COMPLETED, now)
    note(r, 'completed', now, r[WORKER], 0, '', m[M_OUTPUT])
  elseif kind == FAIL then
    fail(r, m[M_TEXT], m[M_PERMANENT], m[M_STACK], now, now + m[M_SPAN])
  elseif kind == GIVE_BACK then
    give_back(r, m[M_SPAN])
  else
    return NO_CANCEL
  end
  r[ENDED_TOKEN], r[ENDED] = m[M_TOKEN], how + (r[STATE] > RUNNING and FINAL or 0)
  return code
end

-- refuse answers a move whose lease does not hold any more, or a repeat of the one that ended it.
local function refuse(r, m)
  if r[ENDED] == 0 or r[ENDED_TOKEN] ~= m[M_TOKEN] then return LOST end
  local kind = r[ENDED] % 10
  local was_refused, final = r[ENDED] >= REFUSED, r[ENDED] % 20 >= FINAL
  if kind == m[M_KIND] then return was_refused and WAS_CANCELLED or OK end
  if final and r[TOKEN] == m[M_TOKEN] and r[STATE] > RUNNING then return FINISHED_OTHERWISE end
  return GIVEN_UP
end

local function apply(r, m)
  if r[STATE] ~= RUNNING or r[TOKEN] ~= m[M_TOKEN] then return refuse(r, m) end
  local kind = m[M_KIND]
  if kind == RENEW then
    local before = r[UNTIL]
    renew(r, m[M_SPAN] > 0 and m[M_SPAN] or r[LEASE])
    if r[UNTIL] < before then changed[#changed + 1] = ids[r] end -- who watches must look at the time again
    return OK
  elseif kind == PROGRESS_AND_DATA then
    if m[M_PROGRESS] >= 0 then r[PROGRESS] = m[M_PROGRESS] end
    if m[M_DATA] ~= '' then
      r[HAS_DATA], data[r] = 1, m[M_DATA]
      log[ids[r] .. '/d'] = m[M_DATA]
    end
    if now + r[LEASE] > r[UNTIL] then renew(r, r[LEASE]) end -- a longer renewal stands
    note(r, 'data', now, r[WORKER], 0, '', '', r[PROGRESS], '', data_of(r))
    return OK
  elseif kind == EVENT then
    note(r, 'event', now, r[WORKER], 0, '', '', 0, m[M_TEXT], m[M_DATA])
    return OK
  end
  return give_up(r, m)
end

-- move makes a move, and tells its code, the state of the action, the end of its lease, and whether a cancel was requested.
function made.move(m)
  local r = find(m[M_ID])
  if not r then return {NOT_FOUND, 0, 0, 0} end
  local code = apply(r, m)
  if code == OK and r[STATE] == RUNNING and r[TOKEN] == m[M_TOKEN] then
    return {code, RUNNING, r[UNTIL], r[CANCEL_AT] > 0 and 1 or 0}
  end
  return {code, r[STATE], 0, 0}
end
