-- Records that are more than plain, and what time does to all of them.

local ids = {}               -- by record
local stood = {}             -- by record: where it stands, see spot; nil: nowhere, it is new
local keys = {}              -- unique key → id, as far as they were read; false: free
local touched, removed = {}, {} -- records
local is_touched, is_removed = {}, {}
local log = {}               -- what fields of LOG become; false: they go
local is_broken = false      -- a record is not there, though it stands somewhere: a server that may drop keys has dropped it

-- begin is what a claim makes of a record.
local function begin(r, at, worker, lease, token)
  r[STATE], r[ATTEMPT], r[STARTED], r[UNTIL], r[WORKER], r[LEASE], r[TOKEN] = RUNNING, r[ATTEMPT] + 1, at, at + lease, worker, lease, token
end

local function decode(blob)
  local mark = blob:byte(-1)
  if mark == WRITTEN then
    local r = {struct.unpack(FORMAT, blob)}
    r[HISTORY] = blob:sub(r[HISTORY], -2)
    return r
  end
  local created, lot, place, run_at, grace, attempts, failed, cancelled, completed = struct.unpack(PLAIN_FORMAT, blob)
  local r = {created, lot, place, run_at, 0, 0, 0, 0, 0, 0, 0, 0, 0, grace, completed, failed, cancelled, 1, 0, attempts, 0, PENDING, 1, 0, 0, 0, 0, '', '', '', 1, 0,
    cmsgpack.pack({'request', run_at, PENDING, 0, '', run_at})}
  if mark == PLAIN then return r end
  local at, lease, token, length = struct.unpack(LEASE_FORMAT, blob, PLAIN_SIZE + 1)
  local behind = WORKER_AT + length
  local worker = blob:sub(WORKER_AT, behind - 1)
  begin(r, at, worker, lease, token)
  r[IS_READY], r[SEQ] = 0, 2
  r[HISTORY] = r[HISTORY] .. cmsgpack.pack({'claimed', at, RUNNING, 1, worker})
  if mark == ENDED_PLAINLY then
    local finished = struct.unpack('>I8', blob, behind + 1)
    r[HISTORY] = r[HISTORY] .. cmsgpack.pack({'completed', finished, COMPLETED, 1, worker, 0, '', blob:sub(behind + 9, -2)})
    r[STATE], r[SEQ], r[FINISHED], r[UNTIL], r[ENDED], r[ENDED_TOKEN] = COMPLETED, 3, finished, 0, ENDED_COMPLETED, token
  end
  return r
end

-- lease_end is when a running record changes if nothing happens.
local function lease_end(r)
  if r[CANCEL_AT] > 0 then return math.min(r[UNTIL], r[CANCEL_AT] + r[GRACE]) end
  return r[UNTIL]
end

-- spot is the set that a record stands in by its state, and the score there; nil: none. It may stand in DUE as well.
local function spot(r)
  local state = r[STATE]
  if state == RUNNING then return RUN, lease_end(r) end
  if state == PENDING then
    if r[IS_READY] == 1 then return READY, r[RUN_AT] end
    return nil
  end
  local at = kept_until(state, r[FINISHED], r[KEEP + state])
  if at then return DONE, at end
end

-- record returns the record of an id that was loaded; false: there is none.
local function record(id)
  local r = records[id]
  if r == nil then
    local blob = blobs[id]
    if not blob then return false end
    r = decode(blob)
    records[id], ids[r], stood[r] = r, id, {spot(r)}
  end
  return r
end

local function touch(r)
  if not is_touched[r] then
    is_touched[r] = true
    touched[#touched + 1] = r
  end
end

-- spill moves the history of a record from within it to the log.
local function spill(r)
  local history, id, seq, from = r[HISTORY], ids[r], r[FIRST], 0
  while from >= 0 do
    local to = cmsgpack.unpack_one(history, from)
    log[id .. '/' .. seq] = history:sub(from + 1, to >= 0 and to or -1)
    seq, from = seq + 1, to
  end
  r[FIRST], r[HISTORY] = seq, ''
end

-- note adds a change to the history. After the state and attempt come: worker, run-at, failure, output, progress, event, data, as
-- far as there are any; "" and 0 stand for none.
local function note(r, kind, at, ...)
  touch(r)
  local id, seq = ids[r], r[SEQ] + 1
  r[SEQ] = seq
  r[HISTORY] = r[HISTORY] .. cmsgpack.pack({kind, at, r[STATE], r[ATTEMPT], ...})
  if #r[HISTORY] > INLINE then spill(r) end
  if seq > KEPT then log[id .. '/' .. seq - KEPT] = false end
  changed[#changed + 1], is_over[id] = id, r[STATE] > RUNNING
end

local function enter(r, state)
  touch(r)
  local was = COUNT + r[STATE]
  queue[was] = queue[was] - 1
  queue[COUNT + state] = queue[COUNT + state] + 1
  r[STATE] = state
end

-- finish moves a record to a terminal state. Its unique key is free again.
local function finish(r, state, at)
  enter(r, state)
  r[FINISHED], r[UNTIL] = at, 0
  if r[KEY] ~= '' then keys[r[KEY]] = false end
end

-- pend lets a record wait for a time.
local function pend(r, run_at)
  enter(r, PENDING)
  r[RUN_AT], r[UNTIL] = run_at, 0
end

-- fail ends an attempt: another one follows, or the action has failed.
local function fail(r, message, permanent, stack, at, again)
  local id, n = ids[r], r[FAILURES] + 1
  local failure = {message, r[ATTEMPT], at, r[WORKER], permanent, stack}
  r[FAILURES] = n
  log[id .. '/f' .. n] = cmsgpack.pack(failure)
  if n > KEPT then log[id .. '/f' .. n - KEPT] = false end
  if permanent == 1 or r[ATTEMPT] >= r[MAX_ATTEMPTS] then
    finish(r, FAILED, at)
    note(r, 'failed', at, r[WORKER], 0, failure)
  else
    pend(r, again)
    note(r, 'retry', at, r[WORKER], again, failure)
  end
end

-- cancel_failure is why an action was cancelled.
local function cancel_failure(r)
  return {r[REASON] ~= '' and r[REASON] or 'cancelled', r[ATTEMPT], r[CANCEL_AT], '', 0, ''}
end

-- end_cancelled ends a record whose cancel was requested.
local function end_cancelled(r, at)
  finish(r, CANCELLED, at)
  note(r, 'cancelled', at, r[WORKER], 0, cancel_failure(r))
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

-- settle does to a record what time has done, as of the moment it happened.
local function settle(r)
  if r[STATE] == PENDING then
    if r[START_BY] > 0 and r[ATTEMPT] == 0 and r[START_BY] <= now then
      local at = r[START_BY]
      finish(r, FAILED, at)
      note(r, 'failed', at, '', 0, {string.format('not started within %gs', r[WITHIN] / SECOND), 0, at, '', 0, ''})
    elseif r[IS_READY] == 0 and r[RUN_AT] <= now then
      touch(r)
    end
  elseif r[STATE] == RUNNING then
    local at = lease_end(r)
    if at > now then return end
    if r[CANCEL_AT] > 0 then
      end_cancelled(r, at)
    else
      fail(r, 'worker lost: lease ended', 0, '', at, at)
    end
  end
end

-- handle is a bundle of one.
local function handle(r) return struct.pack('>I8', r[CREATED]) .. ids[r] end

-- remove deletes a record with all its traces.
local function remove(r)
  if is_removed[r] then return end
  is_removed[r] = true
  removed[#removed + 1] = r
  queue[COUNT + r[STATE]] = queue[COUNT + r[STATE]] - 1
  if r[STATE] == PENDING and r[KEY] ~= '' then keys[r[KEY]] = false end
  local id = ids[r]
  for seq = math.max(1, r[SEQ] - KEPT + 1), r[FIRST] - 1 do log[id .. '/' .. seq] = false end
  for n = math.max(1, r[FAILURES] - KEPT + 1), r[FAILURES] do log[id .. '/f' .. n] = false end
  if r[HAS_DATA] == 1 then log[id .. '/d'] = false end
  records[id], blobs[id] = false, false
  changed[#changed + 1], is_over[id] = id, true
end

-- find returns the record of an id that was loaded, as of now; nil if there is none.
local function find(id)
  local r = record(id)
  if not r then return nil end
  settle(r)
  if r[STATE] > RUNNING then
    local over = kept_until(r[STATE], r[FINISHED], r[KEEP + r[STATE]])
    if over and over <= now then
      remove(r)
      return nil
    end
  end
  return r
end

-- after is the first time in a set that is still to come, or 0.
local function after(set)
  local head = redis.call('ZRANGE', set, '(' .. text(now), '(+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
  return tonumber(head[2] or 0)
end

-- due_slice settles what a set holds up to now; true if there is more.
local function due_slice(set)
  local list, members = first(set, now, SLICE)
  load(list)
  local lost = {}
  for _, id in ipairs(list) do
    local r = record(id)
    if r then
      settle(r)
    else
      lost[id], is_broken = now, true
    end
  end
  if next(lost) then shrink(set, members, lost) end
  local at = after(set)
  if at > 0 then sooner(NEXT, at) end
  return #list == SLICE
end

-- retire removes up to most records past their retention; true if there are more.
local function retire(most)
  if queue[RETIRE] == 0 or queue[RETIRE] > now then return false end
  dirty = true
  local list, members = first(DONE, now, most)
  load(list)
  local lost = {}
  for _, id in ipairs(list) do
    local r = record(id)
    if r and r[STATE] > RUNNING then
      remove(r)
    else
      lost[id], is_broken = now, is_broken or not r
    end
  end
  if next(lost) then shrink(DONE, members, lost) end
  if #list == most then return true end
  queue[RETIRE] = after(DONE)
  return false
end

-- shorten answers a clock that fell back: no lease ends later than a new one would, nor the grace of a cancel.
local function shorten()
  dirty = true
  local list = {}
  for _, member in ipairs(redis.call('ZRANGE', RUN, now + MIN_LEASE, '(+inf', 'BYSCORE')) do
    for _, id in ipairs(bundled(member)) do list[#list + 1] = id end
  end
  load(list)
  for _, id in ipairs(list) do
    local r = record(id)
    if r and (r[UNTIL] > now + r[LEASE] or r[CANCEL_AT] > now) then
      r[UNTIL], r[CANCEL_AT] = math.min(r[UNTIL], now + r[LEASE]), math.min(r[CANCEL_AT], now)
      touch(r)
    end
  end
end

-- quit marks a record that leaves where it stands.
local function quit(leaving, r)
  local set, score = unpack(stood[r])
  if not set then return end
  local of = leaving[set] or {alone = {}, scores = {}}
  leaving[set], of.alone[#of.alone + 1], of.scores[ids[r]] = of, handle(r), score
end

-- vacate takes what was marked out of the sets: most of it is alone in its bundle.
local function vacate(leaving)
  for set, of in pairs(leaving) do
    if each('ZREM', set, of.alone) ~= #of.alone then leave(set, of.scores) end
  end
end

-- empty empties places of a lot; the last one takes it away.
local function empty(name, gone)
  local lot = redis.call('HGET', SPECS, name)
  if not lot then return end
  local from, head, specs = begins(lot), {}, {}
  local first = from[1]
  local at = first
  for i = 1, lot:byte(1) do
    specs[i] = gone[i] and '' or lot:sub(from[i], from[i + 1] - 1)
    head[i], at = struct.pack('>I4', at), at + #specs[i]
  end
  lots[name] = nil
  if at == first then
    redis.call('HDEL', SPECS, name)
  else
    redis.call('HSET', SPECS, name, lot:sub(1, 1) .. table.concat(head) .. struct.pack('>I4', at) .. table.concat(specs))
  end
end

-- erase deletes what remove has marked.
local function erase()
  local gone, leaving, alone, created, by_lot = {}, {}, {}, {}, {}
  for i, r in ipairs(removed) do
    gone[i], alone[i], created[ids[r]] = ids[r], handle(r), r[CREATED]
    if stood[r] then quit(leaving, r) end
    local lot = struct.pack('>I8', r[LOT])
    by_lot[lot] = by_lot[lot] or {}
    by_lot[lot][r[PLACE]] = true
    queue[READY_COUNT] = queue[READY_COUNT] - r[IS_READY]
  end
  each('HDEL', RECORDS, gone)
  for lot, places in pairs(by_lot) do empty(lot, places) end
  each('ZREM', DUE, alone)
  vacate(leaving)
  if each('ZREM', INDEX, alone) ~= #alone then
    for _, at in pairs(created) do shrink(INDEX, redis.call('ZRANGE', INDEX, at, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES'), created) end
  end
end

-- write stores what was touched, and puts each record where its state and times say it stands.
local function write()
  local hset, due, undue, indexed, leaving, joining = {}, {}, {}, {}, {}, {}
  for _, r in ipairs(touched) do
    if not is_removed[r] then
      local id, is_ready, is_due = ids[r], 0, 0
      if r[STATE] == PENDING then
        if r[RUN_AT] <= now then
          is_ready = 1
        else
          is_due = r[RUN_AT]
        end
        local by = r[START_BY]
        if by > 0 and r[ATTEMPT] == 0 and (is_due == 0 or by < is_due) then is_due = by end
      end
      if is_due > 0 then
        due[#due + 1] = is_due
        due[#due + 1] = handle(r)
        sooner(NEXT, is_due)
      elseif r[IS_DUE] > 0 then
        undue[#undue + 1] = handle(r)
      end
      queue[READY_COUNT] = queue[READY_COUNT] + is_ready - r[IS_READY]
      r[IS_READY], r[IS_DUE], r[HISTORY_SIZE] = is_ready, is_due, #r[HISTORY]
      if not stood[r] then
        stood[r] = {}
        indexed[#indexed + 1] = r[CREATED]
        indexed[#indexed + 1] = handle(r)
      end
      local set, at = spot(r)
      if set ~= stood[r][1] or at ~= stood[r][2] then
        quit(leaving, r)
        stood[r] = {set, at}
        if set then
          local of = joining[set] or {}
          joining[set], of[#of + 1], of[#of + 2] = of, at, handle(r)
          if set ~= READY then sooner(set == RUN and NEXT or RETIRE, at) end
        end
      end
      local blob = struct.pack(FORMAT, unpack(r, 1, HISTORY_SIZE)) .. r[HISTORY] .. string.char(WRITTEN)
      blobs[id] = blob
      hset[#hset + 1] = id
      hset[#hset + 1] = blob
    end
  end
  each('HSET', RECORDS, hset)
  each('ZADD', INDEX, indexed)
  each('ZADD', DUE, due)
  each('ZREM', DUE, undue)
  vacate(leaving)
  for set, of in pairs(joining) do each('ZADD', set, of) end
end

-- put sets the fields of a hash, and deletes those that are false.
local function put(hash, fields)
  local set, gone = {}, {}
  for field, value in pairs(fields) do
    if value then
      set[#set + 1] = field
      set[#set + 1] = value
    else
      gone[#gone + 1] = field
    end
  end
  each('HSET', hash, set)
  each('HDEL', hash, gone)
end

-- store writes the records that were changed, so that the sets can be read.
local function store()
  if #touched == 0 and #removed == 0 then return end
  dirty = true
  if #removed > 0 then erase() end
  if #touched > 0 then write() end
  put(LOG, log)
  put(UNIQUE, keys)
  touched, is_touched, removed, log, keys = {}, {}, {}, {}, {}
end

-- lacks says whether a set does not hold all that stands in it. What is in DUE is alone in its bundle.
local function lacks()
  local waiting = queue[COUNT + PENDING] - queue[READY_COUNT]
  return redis.call('ZCARD', DUE) < waiting or not redis.call('ZSCORE', RUN, MARK) or not redis.call('ZSCORE', INDEX, MARK)
end

-- restore answers a server that has dropped a part of the queue: the records say what the rest of it was. It puts a slice of them where they stand, and says whether there
-- are more. The place where it goes on stands in place of the seat; until its end, all calls do nothing else.
local function restore()
  local cursor = 0
  if seat:byte(1) == RESTORING then
    cursor = seat:sub(2)
  else
    store()
    for field = COUNT + PENDING, RETIRE do queue[field] = 0 end
    ready_before, next_before = 0, 0
    redis.call('DEL', INDEX, READY, DUE, RUN, DONE)
    is_unmarked = true
  end
  local slice = redis.call('HSCAN', RECORDS, cursor, 'COUNT', SLICE)
  for i = 1, #slice[2], 2 do
    local id = slice[2][i]
    local blob = slice[2][i + 1]
    if not redis.call('ZSCORE', INDEX, blob:sub(1, 8) .. id) then -- else it was told before
      blobs[id] = blob
      local r = record(id)
      queue[COUNT + r[STATE]] = queue[COUNT + r[STATE]] + 1
      queue[LAST_CREATED], queue[LAST_TOKEN] = math.max(queue[LAST_CREATED], r[CREATED]), math.max(queue[LAST_TOKEN], r[TOKEN])
      stood[r], r[IS_READY], r[IS_DUE] = nil, 0, 0
      if r[STATE] <= RUNNING and r[KEY] ~= '' then keys[r[KEY]] = id end
      touch(r)
    end
  end
  store()
  local more = slice[1] ~= '0'
  seat, dirty = more and string.char(RESTORING) .. slice[1] or '', true
  return more
end

-- catch_up does the work of advance.
local function catch_up(thorough)
  if now < queue[NOW] then shorten() end
  local behind = false
  if queue[NEXT] > 0 and queue[NEXT] <= now then
    if not PEEKS and lacks() and restore() then return true end
    dirty = true
    queue[NEXT] = 0
    behind = due_slice(DUE)
    behind = due_slice(RUN) or behind
    if behind then queue[NEXT] = now end
  end
  local more = retire(thorough and SLICE or RETIRED)
  if PEEKS then return false end -- it would never get any nearer
  if is_broken and restore() then return true end
  return behind or thorough and more
end

made = {catch_up = catch_up, store = store, find = find, restore = restore}
