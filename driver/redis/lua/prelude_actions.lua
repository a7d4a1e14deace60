-- The actions of one queue, for all verbs. A verb reads the queue (advance brings it up to now), changes records, and saves once.
--
-- KEYS, all of the queue's slot: 1 the queue, 2 specs, 3 records, 4 log, 5 unique keys, 6 index by creation, 7 ready, 8 due, 9 run,
-- 10 done, 11 watched, 12 the lane of the call, if it has one.
-- ARGV: 1 the channel of the queue, 2 the beginning of the channels of its actions, 3 the number of the call in its lane, or "".
-- All times and durations are in µs.

local QUEUE, SPECS, RECORDS, LOG, UNIQUE, INDEX = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local READY, DUE, RUN, DONE, WATCHED, LANE = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]

local KEPT = 100             -- changes and failures of an action
local SLICE = 500            -- records that one run of a script brings up to now
local RETIRED = 64           -- records past their retention that it removes beside its own work
local LANE_TTL = 120000      -- ms
local WATCH_TTL = 60000      -- ms
local SECOND = 1000000
local MIN_LEASE = SECOND / 10

-- States, as they are stored.
local PENDING, RUNNING, COMPLETED, FAILED, CANCELLED = 1, 2, 3, 4, 5

-- Fields of the queue. COUNT + state is how many records are in that state.
local NOW, LAST_N, LAST_CREATED, LAST_TOKEN, PAUSED = 1, 2, 3, 4, 5
local COUNT = 5
local READY_COUNT = 11       -- records in READY
local NEXT = 12              -- nothing in DUE and RUN is before; 0: nothing is there
local RETIRE = 13            -- nothing in DONE is before; 0: nothing is there
local WATCHED_UNTIL = 14     -- nobody is in WATCHED after

-- Fields of a record. KEEP + state is its retention: 0 is the default, -1 for ever.
local N, CREATED, STATE, SEQ, ATTEMPT, MAX_ATTEMPTS, RUN_AT, STARTED, FINISHED = 1, 2, 3, 4, 5, 6, 7, 8, 9
local UNTIL, LEASE, TOKEN, WORKER, START_BY, WITHIN, GRACE = 10, 11, 12, 13, 14, 15, 16
local KEEP = 14              -- 17, 18, 19
local KEY, CANCEL_AT, REASON, PROGRESS, HAS_DATA, FAILURES = 20, 21, 22, 23, 24, 25
local ENDED_TOKEN, ENDED = 26, 27 -- of the newest lease that its holder gave up: how, see advance.lua
local IS_READY, IS_DUE = 28, 29   -- 1 if it stands in READY; its time in DUE, or 0

local DAY = 86400 * SECOND
local DEFAULT_KEEP = {[COMPLETED] = DAY, [FAILED] = 7 * DAY, [CANCELLED] = DAY}

local clock = redis.call('TIME')
local now = clock[1] * SECOND + clock[2]

local queue = redis.call('GET', QUEUE)
local is_new = not queue
queue = queue and cmsgpack.unpack(queue) or {now, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
local ready_before, next_before = queue[READY_COUNT], queue[NEXT]

local records = {}           -- by id; false: there is none
local ids = {}               -- by record
local blobs = {}             -- by record: as it is stored
local stood = {}             -- by record: its state as it is stored
local keys = {}              -- unique key → id, as far as they were read; false: free
local specs = {}             -- by record: a new spec
local touched, changed, removed = {}, {}, {} -- records; changed are those that watchers want to hear of
local is_touched, is_removed = {}, {}
local log, forget = {}, {}   -- fields of LOG to set and to delete
local dirty = false          -- the queue itself changed

-- each calls a command with any number of arguments, an even number at a time.
local function each(command, key, args)
  local n = #args
  if n == 0 then return end
  if n <= 4000 then return redis.call(command, key, unpack(args)) end
  local all = {}
  for i = 1, n, 4000 do
    local answer = redis.call(command, key, unpack(args, i, math.min(i + 3999, n)))
    if type(answer) == 'table' then
      for _, value in ipairs(answer) do all[#all + 1] = value end
    end
  end
  return all
end

-- load reads the records of ids, as far as they have not been read.
local function load(list)
  local wanted = {}
  for _, id in ipairs(list) do
    if records[id] == nil then
      records[id] = false
      wanted[#wanted + 1] = id
    end
  end
  for i, blob in ipairs(each('HMGET', RECORDS, wanted) or {}) do
    if blob then
      local r = cmsgpack.unpack(blob)
      records[wanted[i]], ids[r], blobs[r], stood[r] = r, wanted[i], blob, r[STATE]
    end
  end
end

local function touch(r)
  if not is_touched[r] then
    is_touched[r] = true
    touched[#touched + 1] = r
  end
end

local function set_log(field, value)
  log[#log + 1] = field
  log[#log + 1] = value
end

-- note adds a change to the history. After the state and attempt come: worker, run-at, failure, output, progress, event, data, as
-- far as there are any; "" and 0 stand for none.
local function note(r, kind, at, ...)
  touch(r)
  local id, seq = ids[r], r[SEQ] + 1
  r[SEQ] = seq
  set_log(id .. '/' .. seq, cmsgpack.pack({kind, at, r[STATE], r[ATTEMPT], ...}))
  if seq > KEPT then forget[#forget + 1] = id .. '/' .. seq - KEPT end
  changed[#changed + 1] = r
end

local function is_terminal(r) return r[STATE] > RUNNING end

-- kept_until is the end of the retention of a terminal record; nil: none.
local function kept_until(r)
  local keep = r[KEEP + r[STATE]]
  if keep < 0 then return nil end
  return r[FINISHED] + (keep == 0 and DEFAULT_KEEP[r[STATE]] or keep)
end

local function enter(r, state)
  touch(r)
  queue[COUNT + r[STATE]] = queue[COUNT + r[STATE]] - 1
  queue[COUNT + state] = queue[COUNT + state] + 1
  r[STATE] = state
end

local function free_key(r)
  if r[KEY] ~= '' then keys[r[KEY]] = false end
end

-- finish moves a record to a terminal state.
local function finish(r, state, at)
  enter(r, state)
  r[FINISHED], r[UNTIL] = at, 0
  free_key(r)
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
  set_log(id .. '/f' .. n, cmsgpack.pack(failure))
  if n > KEPT then forget[#forget + 1] = id .. '/f' .. n - KEPT end
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

-- lease_end is when a running record changes if nothing happens.
local function lease_end(r)
  if r[CANCEL_AT] > 0 then return math.min(r[UNTIL], r[CANCEL_AT] + r[GRACE]) end
  return r[UNTIL]
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

local function sooner(field, at)
  if queue[field] == 0 or at < queue[field] then queue[field] = at end
end

-- handle is a member of READY: it sorts by creation. struct.pack writes big-endian.
local function handle(r) return struct.pack('>I8', r[N]) .. ids[r] end

local function index_member(r) return struct.pack('>I8', r[CREATED]) .. handle(r) end

-- remove deletes a record with all its traces.
local function remove(r)
  if is_removed[r] then return end
  is_removed[r] = true
  removed[#removed + 1] = r
  queue[COUNT + r[STATE]] = queue[COUNT + r[STATE]] - 1
  if not is_terminal(r) then free_key(r) end
  records[ids[r]] = false
  changed[#changed + 1] = r
end

-- find returns the record of an id that was loaded, as of now; nil if there is none.
local function find(id)
  local r = records[id]
  if not r then return nil end
  settle(r)
  if is_terminal(r) then
    local over = kept_until(r)
    if over and over <= now then
      remove(r)
      return nil
    end
  end
  return r
end

-- add begins the history of a new pending record.
local function add(id, r, spec, data)
  records[id], ids[r], specs[r] = r, id, spec
  queue[COUNT + PENDING] = queue[COUNT + PENDING] + 1
  if r[KEY] ~= '' then keys[r[KEY]] = id end
  if data ~= '' then
    set_log(id .. '/d', data)
    note(r, 'request', now, '', r[RUN_AT], '', '', 0, '', data)
  else
    note(r, 'request', now, '', r[RUN_AT])
  end
end

-- start leases a ready record: an attempt begins.
local function start(r, worker, lease)
  enter(r, RUNNING)
  local token = math.max(queue[LAST_TOKEN] + 1, now)
  queue[LAST_TOKEN] = token
  r[ATTEMPT] = r[ATTEMPT] + 1
  r[STARTED], r[UNTIL], r[WORKER], r[LEASE], r[TOKEN] = now, now + lease, worker, lease, token
  note(r, 'claimed', now, worker)
end

-- due_slice settles what a set holds up to now; true if there is more.
local function due_slice(set)
  local list = redis.call('ZRANGE', set, '-inf', now, 'BYSCORE', 'LIMIT', 0, SLICE)
  load(list)
  for _, id in ipairs(list) do
    local r = records[id]
    if r then
      settle(r)
    else
      redis.call('ZREM', set, id)
    end
  end
  local after = redis.call('ZRANGE', set, '(' .. string.format('%.0f', now), '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
  if after[2] then sooner(NEXT, tonumber(after[2])) end
  return #list == SLICE
end

-- retire removes up to most records past their retention; true if there are more.
local function retire(most)
  if queue[RETIRE] == 0 or queue[RETIRE] > now then return false end
  dirty = true
  local list = redis.call('ZRANGE', DONE, '-inf', now, 'BYSCORE', 'LIMIT', 0, most)
  load(list)
  for _, id in ipairs(list) do
    local r = records[id]
    if r and is_terminal(r) then
      remove(r)
    else
      redis.call('ZREM', DONE, id)
    end
  end
  if #list == most then return true end
  queue[RETIRE] = 0
  local after = redis.call('ZRANGE', DONE, '(' .. string.format('%.0f', now), '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
  if after[2] then queue[RETIRE] = tonumber(after[2]) end
  return false
end

-- shorten answers a clock that fell back: no lease ends later than a new one would.
local function shorten()
  dirty = true
  local list = redis.call('ZRANGE', RUN, now + MIN_LEASE, '+inf', 'BYSCORE')
  load(list)
  for _, id in ipairs(list) do
    local r = records[id]
    if r and r[UNTIL] > now + r[LEASE] then
      r[UNTIL] = now + r[LEASE]
      touch(r)
    end
  end
end

-- advance brings the queue up to now, a slice at a time; true if it is not there yet. Then the verb saves, does nothing, and the
-- caller runs it again.
local function advance(thorough)
  if now < queue[NOW] then shorten() end
  local behind = false
  if queue[NEXT] > 0 and queue[NEXT] <= now then
    dirty = true
    queue[NEXT] = 0
    behind = due_slice(DUE)
    behind = due_slice(RUN) or behind
    if behind then queue[NEXT] = now end
  end
  local more = retire(thorough and SLICE or RETIRED)
  return behind or thorough and more
end

-- erase deletes what remove has marked.
local function erase()
  local gone, indexed, ready = {}, {}, {}
  for i, r in ipairs(removed) do
    local id = ids[r]
    gone[i], indexed[i] = id, index_member(r)
    if r[IS_READY] == 1 then
      ready[#ready + 1] = handle(r)
      queue[READY_COUNT] = queue[READY_COUNT] - 1
    end
    for seq = math.max(1, r[SEQ] - KEPT + 1), r[SEQ] do forget[#forget + 1] = id .. '/' .. seq end
    for n = math.max(1, r[FAILURES] - KEPT + 1), r[FAILURES] do forget[#forget + 1] = id .. '/f' .. n end
    if r[HAS_DATA] == 1 then forget[#forget + 1] = id .. '/d' end
  end
  each('HDEL', RECORDS, gone)
  each('HDEL', SPECS, gone)
  each('ZREM', INDEX, indexed)
  each('ZREM', READY, ready)
  each('ZREM', DUE, gone)
  each('ZREM', DONE, gone)
  each('HDEL', LOG, forget)
  forget = {}
end

-- write stores what was touched, and puts each record where its state and times say it stands.
local function write()
  local hset, ready, unready, due, undue, run, unrun, done, undone = {}, {}, {}, {}, {}, {}, {}, {}, {}
  local added, indexed = {}, {}
  for _, r in ipairs(touched) do
    if not is_removed[r] then
      local id, state, was = ids[r], r[STATE], stood[r]
      local is_ready, is_due = 0, 0
      if state == PENDING then
        if r[RUN_AT] <= now then
          is_ready = 1
          ready[#ready + 1] = r[RUN_AT]
          ready[#ready + 1] = handle(r)
        else
          is_due = r[RUN_AT]
        end
        local by = r[START_BY]
        if by > 0 and r[ATTEMPT] == 0 and (is_due == 0 or by < is_due) then is_due = by end
        if is_due > 0 then
          due[#due + 1] = is_due
          due[#due + 1] = id
          sooner(NEXT, is_due)
        end
      elseif state == RUNNING then
        local at = lease_end(r)
        run[#run + 1] = at
        run[#run + 1] = id
        sooner(NEXT, at)
      else
        local at = kept_until(r)
        if at then
          done[#done + 1] = at
          done[#done + 1] = id
          sooner(RETIRE, at)
        end
      end
      if r[IS_READY] == 1 and is_ready == 0 then unready[#unready + 1] = handle(r) end
      if r[IS_DUE] > 0 and is_due == 0 then undue[#undue + 1] = id end
      if was == RUNNING and state ~= RUNNING then unrun[#unrun + 1] = id end
      if was and was > RUNNING and state <= RUNNING then undone[#undone + 1] = id end
      queue[READY_COUNT] = queue[READY_COUNT] + is_ready - r[IS_READY]
      r[IS_READY], r[IS_DUE] = is_ready, is_due
      local blob = cmsgpack.pack(r)
      blobs[r], stood[r] = blob, state
      hset[#hset + 1] = id
      hset[#hset + 1] = blob
      if specs[r] then
        added[#added + 1] = id
        added[#added + 1] = specs[r]
        if not was then
          indexed[#indexed + 1] = 0
          indexed[#indexed + 1] = index_member(r)
        end
      end
    end
  end
  each('HSET', RECORDS, hset)
  each('HSET', SPECS, added)
  each('ZADD', INDEX, indexed)
  each('ZADD', READY, ready)
  each('ZREM', READY, unready)
  each('ZADD', DUE, due)
  each('ZREM', DUE, undue)
  each('ZADD', RUN, run)
  each('ZREM', RUN, unrun)
  each('ZADD', DONE, done)
  each('ZREM', DONE, undone)
end

-- tell wakes those who watch what changed.
local function tell()
  if #changed == 0 or queue[WATCHED_UNTIL] < now then return end
  local list, last = {}, {}
  for _, r in ipairs(changed) do
    local id = ids[r]
    if not last[id] then list[#list + 1] = id end
    last[id] = r
  end
  local over = {}
  for i, watched in ipairs(each('SMISMEMBER', WATCHED, list)) do
    if watched == 1 then
      local id = list[i]
      redis.call('PUBLISH', ARGV[2] .. id, '')
      if is_removed[last[id]] or is_terminal(last[id]) then over[#over + 1] = id end
    end
  end
  each('SREM', WATCHED, over)
end

-- store writes the records that were changed, so that the sets can be read.
local function store()
  if #touched == 0 and #removed == 0 then return end
  dirty = true
  if #removed > 0 then erase() end
  if #touched > 0 then write() end
  each('HSET', LOG, log)
  each('HDEL', LOG, forget)
  local taken, free = {}, {}
  for key, id in pairs(keys) do
    if id then
      taken[#taken + 1] = key
      taken[#taken + 1] = id
    else
      free[#free + 1] = key
    end
  end
  each('HSET', UNIQUE, taken)
  each('HDEL', UNIQUE, free)
  touched, is_touched, removed, log, forget, keys, specs = {}, {}, {}, {}, {}, {}, {}
end

-- save writes everything, and wakes who waits: claimers hear of the queue when something became ready where nothing was, or when they must
-- look earlier. The text is what they need to know: how many are ready, and in how many µs to look; -1: not at all.
local function save()
  store()
  tell()
  changed = {}
  if not dirty then return end
  dirty = false
  queue[NOW] = now
  local total = queue[PAUSED]
  for state = PENDING, CANCELLED do total = total + queue[COUNT + state] end
  if total == 0 then
    redis.call('DEL', QUEUE)
  else
    redis.call('SET', QUEUE, cmsgpack.pack(queue))
  end
  local ready, at = queue[READY_COUNT], queue[NEXT]
  if queue[PAUSED] == 0 and ready > 0 and ready_before == 0 or at > 0 and (next_before == 0 or at < next_before) then
    if queue[PAUSED] == 1 then ready = 0 end
    redis.call('PUBLISH', ARGV[1], string.format('%d %.0f', ready, at > 0 and math.max(0, at - now) or -1))
  end
  ready_before, next_before = ready, at
end

-- recall returns the answer to a call that is repeated, nil if it is none; a call that comes after a later one of its lane was answered
-- is refused.
local function recall()
  if ARGV[3] == '' then return nil end
  local blob = redis.call('GET', LANE)
  if not blob then return nil end
  local last = cmsgpack.unpack(blob)
  local seq = tonumber(ARGV[3])
  if seq > last[1] then return nil end
  if seq < last[1] then
    return nil, redis.error_reply('RPW conflict call ' .. ARGV[3] .. ' came after call ' .. string.format('%.0f', last[1]) ..
      ' of the same sender was answered; send it again under a new number')
  end
  return last[2]
end

-- remember keeps the answer of the call for a repeat.
local function remember(answer)
  if ARGV[3] ~= '' then
    redis.call('SET', LANE, cmsgpack.pack({tonumber(ARGV[3]), answer}), 'PX', LANE_TTL)
  end
end

-- describe tells of saved records what a reader needs: for each id, spec, record, data, the change that ended it, failures, and, if asked for, events.
local function describe(list, with_events)
  local wanted, fields, parts = {}, {}, {}
  for i, r in ipairs(list) do
    local id = ids[r]
    wanted[i] = id
    local part = {at = #fields}
    if r[HAS_DATA] == 1 then
      fields[#fields + 1] = id .. '/d'
      part.data = #fields
    end
    if is_terminal(r) then
      fields[#fields + 1] = id .. '/' .. r[SEQ]
      part.final = #fields
    end
    part.failures = #fields + 1
    for n = math.max(1, r[FAILURES] - KEPT + 1), r[FAILURES] do fields[#fields + 1] = id .. '/f' .. n end
    part.events = #fields + 1
    if with_events then
      for seq = math.max(1, r[SEQ] - KEPT + 1), r[SEQ] do fields[#fields + 1] = id .. '/' .. seq end
    end
    part.stop = #fields
    parts[i] = part
  end
  local spec = each('HMGET', SPECS, wanted) or {}
  local value = each('HMGET', LOG, fields) or {}
  local answer = {}
  for i, r in ipairs(list) do
    local part = parts[i]
    local failures, events = {}, {}
    for j = part.failures, part.events - 1 do failures[#failures + 1] = value[j] end
    for j = part.events, part.stop do events[#events + 1] = value[j] end
    answer[i] = {ids[r], spec[i], blobs[r], part.data and value[part.data] or '', part.final and value[part.final] or '', failures, events}
  end
  return answer
end

-- wait_for is how long until a time, for one who waits; -1: for ever.
local function wait_for(at) return at > 0 and math.max(0, at - now) or -1 end
