#!lua flags=allow-oom
-- Advance: moves of claimed actions, each fenced by its token.
-- ARGV from 4: the moves, packed.
-- Answer: for each move its code (OK ...), the state of the action, the end of its lease or 0, and whether a cancel was requested.

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

local last, refused = recall()
if refused then return refused end
if last then return last end
if advance() then
  save()
  return 'behind'
end

local moves, wanted = {}, {}
for i = 4, #ARGV do
  local m = cmsgpack.unpack(ARGV[i])
  moves[#moves + 1] = m
  wanted[#wanted + 1] = m[M_ID]
end
load(wanted)

-- complete_plainly completes an action to which nothing else has happened than its claim; false: this is none, or the lease does not hold.
local hset, unrun, done, texts = {}, {}, {}, {}
local function complete_plainly(m)
  local id = m[M_ID]
  local blob = blobs[id]
  if records[id] ~= nil or not blob or blob:byte(-1) ~= LEASED then return false end
  local token, _, _, keep = struct.unpack(LEASE_FORMAT, blob, #blob - LEASE_SIZE + 1)
  if token ~= m[M_TOKEN] then return false end
  local output = m[M_OUTPUT]
  blob = blob .. output .. struct.pack(END_FORMAT, now, #output, ENDED_PLAINLY)
  blobs[id] = blob
  hset[#hset + 1] = id
  hset[#hset + 1] = blob
  unrun[#unrun + 1] = id
  local at = kept_until(COMPLETED, now, keep)
  if at then
    local written = texts[at]
    if not written then
      written = text(at)
      texts[at] = written
      sooner(RETIRE, at)
    end
    done[#done + 1] = written
    done[#done + 1] = id
  end
  changed[#changed + 1], is_over[id] = id, true
  return true
end

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

-- give_back undoes an attempt.
local function give_back(r, wait)
  r[ATTEMPT] = r[ATTEMPT] - 1
  if r[ATTEMPT] == 0 then -- none has begun
    r[STARTED] = 0
    if r[START_BY] > 0 and r[START_BY] < now then r[START_BY] = now end -- it expires now, not in the past
  end
  pend(r, now + wait)
  note(r, 'released', now, r[WORKER], r[RUN_AT])
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
      set_log(ids[r] .. '/d', m[M_DATA])
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

local answer = {}
for i, m in ipairs(moves) do
  local code, state, ends, cancel = NOT_FOUND, 0, 0, 0
  local r = nil
  if m[M_KIND] == COMPLETE and complete_plainly(m) then
    code, state = OK, COMPLETED
  else
    r = find(m[M_ID])
  end
  if r then
    code = apply(r, m)
    state = r[STATE]
    if code == OK and state == RUNNING and r[TOKEN] == m[M_TOKEN] then
      ends, cancel = r[UNTIL], r[CANCEL_AT] > 0 and 1 or 0
    end
  end
  answer[4 * i - 3], answer[4 * i - 2], answer[4 * i - 1], answer[4 * i] = code, state, ends, cancel
end
remember(answer)
if #unrun > 0 then
  each('HSET', RECORDS, hset)
  each('ZREM', RUN, unrun)
  each('ZADD', DONE, done)
  queue[COUNT + RUNNING], queue[COUNT + COMPLETED] = queue[COUNT + RUNNING] - #unrun, queue[COUNT + COMPLETED] + #unrun
  dirty = true
end
save()
return answer
