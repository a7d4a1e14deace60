#!lua flags=allow-oom
-- group_fetch: leases events to a consumer: what is due again, then what is new.
-- KEYS  1 the stream  2 its m  3 4 the same of its group's dead-letter stream (none of its own: "") ; beside them what group_core names, and l:<lane>
-- ARGV  1 how a history begins, see open  2 the group  3 consumer  4 the incarnation it knows ("0": any)  5 how many  6 lease (ms; "": the group's)
--       7 "1": the caller waits no longer  8 lane ("": none)  9 its seq  10 the channel of the dead-letter stream  11 the channel of the group
--       12 a place ("": none): the caller has read what follows it: 13 bytes, 14 the count of the last, 15 how many events had been removed,
--       16 how many there are  17 the first id  18 the last  19 all, see listed. If the group is at this place, nothing was removed since
--       and nothing is due again, it leases these, and need not pass the events through Lua, which is slow.
-- Answers {"none", ms until something is due ("": nothing)}, {"over"}, which ends the wait of a repeat whose answer holds nothing any more,
-- {"gap", kind, missed, after, resume, oldest}, or {"lot", base, incarnation, until (ms), epoch, count before the first new event, entries ("": those
-- that the caller has read), attempts, the place of the group}.
local MOST = 8388608 -- bytes of an answer

local function attempts(lot)
  local list = {}
  for i, n in pairs(lot.a or {}) do list[#list + 1] = i list[#list + 1] = n end
  return list
end

-- again answers a call that was answered before, with what its caller still holds. The others keep their places, under the id 0-0.
local function again(answer)
  local kind, rest = string.match(answer, '^(%S+) ?(.*)$')
  if kind == 'none' then return {'over'} end
  if kind == 'gap' then return unpacked(rest) end
  local lot = getlot(g, rest)
  if not lot or lot.k == 0 then return {'over'} end
  local entries, list = {}, {}
  for i, id in ipairs(lot.i) do
    entries[i] = not lot.m[i] and entryof(KEYS[1], g, id) or {'0-0', {'', ''}}
  end
  return {'lot', rest, g.inc, text(lot.u), g.epoch, text(0), entries, attempts(lot), at(g.epoch, g.id, g.count)}
end

if recalled then return again(recalled) end

local st = open(KEYS[1], tag, ARGV[1])
retain(st, -1, st.age)

local function told(gap)
  if lane then remember(lane, g.inc, ARGV[9], 'gap ' .. pack(gap)) end
  return gap
end

if ARGV[4] ~= '0' and ARGV[4] ~= g.inc then
  return told({'gap', 'reset', '0', '0 0-0 0', at(g.epoch, g.id, g.count), oldest(st)})
end

-- The consumer is one of the group from now on; those that have been away for an hour, and hold nothing, are not.
if not seen or now - seen > 1000 then
  call('HSET', keys.members, 's:' .. consumer, text(now))
  if call('SET', tag .. 'swept:' .. g.name, '1', 'NX', 'PX', 60000) then
    call('SADD', tag .. 'groups', g.name) -- a server that may drop keys may have dropped it
    local members = call('HGETALL', keys.members)
    for i = 1, #members, 2 do
      local name = string.match(members[i], '^s:(.*)$')
      if name and now - members[i + 1] > 3600000 and call('HEXISTS', keys.members, 'n:' .. name) == 0 then
        call('HDEL', keys.members, members[i], 'g:' .. name)
      end
    end
  end
end

-- Is history missing after the cursor? An average event tells how many to read at once.
local step = g.size > 0 and math.max(1, math.floor(MOST / g.size)) or 16
local asked = math.min(room, step) + 1
local page = call('XRANGE', KEYS[1], g.id, '+', 'COUNT', asked)
local next = 1 -- of page
if g.epoch == st.epoch and page[1] and page[1][1] == g.id then
  next = 2
else
  local kind, missed = resume(st, g.epoch, g.id, g.count, page)
  if kind then
    local from = oldest(st)
    leaveword(g, kind, missed, at(g.epoch, g.id, g.count), from, from)
    g.epoch, g.id, g.count = string.match(from, '^(%d+) (%S+) (%d+)$')
    g.count = tonumber(g.count)
    call('HSET', keys.state, 'ce', g.epoch, 'ci', g.id, 'cc', text(g.count))
    call('PUBLISH', ARGV[11], '0')
    gap = call('HGET', keys.members, 'g:' .. consumer)
  end
end

-- lost is told of events that were delivered before, and that others have removed from the stream.
local function lost(n)
  local here = at(g.epoch, g.id, g.count)
  leaveword(g, 'trimmed', n, here, here, oldest(st))
end

if gap then
  call('HDEL', keys.members, 'g:' .. consumer)
  local kind, missed, after, from, first = unpack(unpacked(gap))
  return told({'gap', kind, text(missed), after, from, first})
end

local dead = {main = KEYS[3], tag = string.sub(KEYS[4] or '', 1, -2), begin = ARGV[1], channel = ARGV[10]}
local gone, missing = 0, 0 -- pending events that are no more; those of them that others have removed
local broken = false       -- a server that may drop keys has dropped a part of the group

local function buried(id, record)
  if not bury(KEYS[1], g, dead, id, record, failure(record)) then missing = missing + 1 end
  forget(g, id)
  owe(g, record.h, record.q, -1)
  gone = gone + 1
end

-- promote makes deliverable what is due. The last holder's receipts stay good until somebody else has the event.
local function promote(member)
  if string.find(member, '-', 1, true) then
    local record = call('HGET', keys.waits, member)
    record = record and unpacked(record)
    if not record then
      call('ZREM', keys.due, member)
      broken = true
    elseif exhausted(g, record) then
      buried(member, record)
    else
      call('ZREM', keys.due, member)
      call('ZADD', keys.ready, inorder(member))
    end
    return
  end
  local lot = getlot(g, member)
  if not lot then
    call('ZREM', keys.due, member)
    broken = true
    return
  end
  for j, id in ipairs(lot.i) do
    if not lot.m[j] and (lot.o and lot.o[j] or lot.u) <= now then
      local record = lot.a and lot.a[j] and call('HGET', keys.waits, id)
      record = record and unpacked(record) or {n = 1, d = lot.d}
      record.h, record.q, record.b, record.l = lot.c, lot.q or record.q, member, lot.o and lot.o[j] or lot.u
      lot.m[j] = 'w'
      lot.k = lot.k - 1
      if exhausted(g, record) then
        buried(id, record)
      else
        call('HSET', keys.waits, id, pack(record))
        call('ZADD', keys.ready, inorder(id))
      end
    end
  end
  keeplot(g, member, lot, now)
end

-- shorten answers a clock that fell back: no lease ends later than a new one would, and what was given back waits no longer than it should from now on.
local function shorten()
  for _, member in ipairs(call('ZRANGE', keys.due, 0, -1)) do
    local lot = not string.find(member, '-', 1, true) and getlot(g, member)
    if lot then
      local most = now + (lot.l or g.lease)
      lot.u = math.min(lot.u, most)
      for j, ends in pairs(lot.o or {}) do lot.o[j] = math.min(ends, most) end
      keeplot(g, member, lot, now)
    else
      local record = call('HGET', keys.waits, member)
      record = record and unpacked(record)
      local most = record and now + (record.y or record.l)
      if record and record.l > most then
        record.l = most
        call('HSET', keys.waits, member, pack(record))
        call('ZADD', keys.due, text(most), member)
      end
    end
  end
  call('HSET', keys.state, 'at', text(us))
  first = call('ZRANGE', keys.due, 0, 0, 'WITHSCORES')
end

-- catchup does what is due.
local function catchup()
  while first[2] and tonumber(first[2]) <= now do
    for _, member in ipairs(call('ZRANGEBYSCORE', keys.due, '-inf', text(now), 'LIMIT', 0, 100)) do promote(member) end
    first = call('ZRANGE', keys.due, 0, 0, 'WITHSCORES')
  end
end

-- restore makes whole what is left of a group of which a part was dropped: what has a lot or a record is pending, and waits. The rest is missing.
local function restore()
  local n, held, bases = 0, {}, {}
  eachpending(g, function(id, lot, _, record, base)
    n = n + 1
    local holder, removed = lot and lot.c or record.h, lot and lot.q or not lot and record.q
    if holder and not removed then held[holder] = (held[holder] or 0) + 1 end
    if lot then
      bases[base] = lot
    else
      local _, member = inorder(id)
      if not call('ZSCORE', keys.ready, member) then call('ZADD', keys.due, text(record.l), id) end
    end
  end)
  for base, lot in pairs(bases) do keeplot(g, base, lot, now) end
  for _, member in ipairs(call('ZRANGE', keys.ready, 0, -1)) do
    if call('HEXISTS', keys.waits, fromorder(member)) == 0 then call('ZREM', keys.ready, member) end
  end
  local members = call('HGETALL', keys.members)
  for i = 1, #members, 2 do
    if string.sub(members[i], 1, 2) == 'n:' then call('HDEL', keys.members, members[i]) end
  end
  for holder, m in pairs(held) do call('HSET', keys.members, 'n:' .. holder, m) end
  g.owed = nil
  missing, gone = missing + math.max(0, g.n - gone - n), g.n - n
  first = call('ZRANGE', keys.due, 0, 0, 'WITHSCORES')
end

if us < g.at then shorten() end
catchup()
local waiting = call('ZCARD', keys.ready)
if broken or waiting > call('HLEN', keys.waits) or not first[2] and waiting < g.n - gone then
  restore()
  catchup()
end

local lot = begin({})
local entries, size = {}, 0

local function fits(entry)
  local f = entry[2]
  local n = #f[1] + #f[2]
  for i = 5, #f do n = n + #f[i] end
  if lot.k > 0 and size + n > MOST then return false end
  size = size + n
  return true
end

local function lease(entry)
  lot.k = lot.k + 1
  lot.i[lot.k] = entry[1]
  entries[lot.k] = entry
end

local full = false
while not full and lot.k < room do
  local members = call('ZRANGE', keys.ready, 0, room - lot.k - 1)
  if #members == 0 then break end
  for _, member in ipairs(members) do
    local id = fromorder(member)
    local record = call('HGET', keys.waits, id)
    record = record and unpacked(record)
    local entry = record and not exhausted(g, record) and entryof(KEYS[1], g, id)
    if record and exhausted(g, record) then -- the bound was lowered meanwhile
      buried(id, record)
    elseif not entry then
      forget(g, id)
      if record then owe(g, record.h, record.q, -1) end
      gone, missing = gone + 1, missing + 1
    elseif not fits(entry) then
      full = true
      break
    else
      call('ZREM', keys.ready, member)
      owe(g, record.h, record.q, -1)
      lease(entry)
      record.n, record.h, record.q, record.b = record.n + 1, consumer, nil, text(g.base)
      lot.a = lot.a or {}
      lot.a[lot.k] = record.n
      call('HSET', keys.waits, id, pack(record))
    end
  end
end
if missing > 0 then lost(missing) end

-- New events. Of those ahead of the cursor some may be pending: what was redriven after the group had been set back.
local counted, cursor, fresh, passed = g.count, nil, 0, 0
while not full and lot.k < room do
  local entry = page[next]
  if not entry then
    if #page < asked then break end
    asked = math.max(1, math.min(room - lot.k, lot.k > 0 and math.floor((MOST - size) / (size / lot.k + 1)) or 16))
    page, next = call('XRANGE', KEYS[1], '(' .. page[#page][1], '+', 'COUNT', asked), 1
    entry = page[1]
    if not entry then break end
  end
  if g.held and g.held ~= '' and not before(g.held, entry[1]) and call('HEXISTS', keys.waits, entry[1]) == 1 then
    cursor = entry
  elseif not fits(entry) then
    break
  else
    lease(entry)
    cursor, fresh = entry, fresh + 1
    if fresh == 1 and (g.n == 0 or not g.low or g.low == '') then call('HSET', keys.state, 'low', entry[1]) end
  end
  passed = passed + 1
  next = next + 1
end
if cursor then g.epoch, g.id, g.count = st.epoch, cursor[1], countof(cursor) or g.count + passed end
lastrites(g, dead)
if lot.k == 0 then
  if gone > 0 or cursor then moves(fresh - gone, 0) end
  if lane and ARGV[7] == '1' then remember(lane, g.inc, ARGV[9], 'none') end
  return {'none', first[2] and text(first[2] - now) or ''}
end
return grant(lot, size, counted, fresh - gone, entries, attempts(lot))
