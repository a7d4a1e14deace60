#!lua flags=allow-oom
-- group_administer: one command on a group, or several that remove consumers of it.
-- KEYS  1 the stream  2 its m  3 4 the same of its group's dead-letter stream (none of its own: ""); beside them what group_core names, and l:<lane>
-- ARGV  1 how a history begins, see open  2 the group  3 lane ("": none)  4 its seq  5 which command of the lane's call  6 the channel of the group
--       7 redrive, reset, delete or remove; then
--       redrive: how many  ids (none: the oldest)    reset: a place, or a kind for locate  the value of the kind    remove: consumers
-- Answers how many events were touched, by each.
local tag = string.sub(KEYS[2], 1, -2)
local lane = ARGV[3] ~= '' and tag .. 'l:' .. ARGV[3] .. ':' .. ARGV[5] .. ':' .. ARGV[2]
if lane then
  local answer = recall(lane, 'admin', ARGV[4])
  if answer then return answer end
end
local g = load(tag, ARGV[2])
local verb = ARGV[7]

local function answer(...)
  local counts = {...}
  for i, n in ipairs(counts) do counts[i] = text(n) end
  counts = table.concat(counts, ' ')
  if lane then remember(lane, 'admin', ARGV[4], counts) end
  call('PUBLISH', ARGV[6], '0')
  return counts
end

if not g then
  if verb == 'delete' then return answer(0) end
  fail('not_found', NO_GROUP)
end
local keys = g.keys
local now = clock()

-- redrive makes a dead letter pending again, as it was: with the fields of the event it came from.
local function redrive(dead, entry, pending)
  local f = entry[2]
  local id, headers = nil, {}
  local epoch, count, key = nil, nil, nil
  if f[3] == 'rpw' then epoch, count, key = string.match(f[4], '^[^/ ]+/(%d+)/(%d+)(.*)$') end
  for i = 5, #f, 2 do
    if f[i] == 'rpw-dead-id' then id = f[i + 1] end
    if string.sub(f[i], 1, 9) ~= 'rpw-dead-' then
      headers[#headers + 1] = f[i]
      headers[#headers + 1] = f[i + 1]
    end
  end
  if not epoch or not id then return false end -- published there by somebody
  call('XDEL', dead.main, entry[1])
  if not pending[id] then
    pending[id] = true
    local _, seq = split(id)
    call('HSET', keys.kept, id, pack({f[1], f[2], 'rpw', text(count - seq) .. key, unpack(headers)}))
    call('HSET', keys.waits, id, pack({n = 0, d = now, l = now}))
    call('ZADD', keys.ready, inorder(id))
    g.n = g.n + 1
    if not before(id, g.id) and (not g.held or g.held == '' or before(g.held, id)) then g.held = id end
  end
  return true
end

local function redriveall()
  if not KEYS[3] or KEYS[3] == '' or call('EXISTS', KEYS[3]) == 0 then return 0 end
  local dead = open(KEYS[3], string.sub(KEYS[4], 1, -2), ARGV[1])
  local pending = {}
  eachpending(g, function(id) pending[id] = true end)
  local n, most = 0, tonumber(ARGV[8])
  if #ARGV > 8 then
    for i = 9, #ARGV do
      local entry = call('XRANGE', dead.main, ARGV[i], ARGV[i])[1]
      if entry and redrive(dead, entry, pending) then n = n + 1 end
    end
  else
    local from = '-'
    while n < most do
      local page = call('XRANGE', dead.main, from, '+', 'COUNT', math.min(most - n, 16))
      if #page == 0 then break end
      for _, entry in ipairs(page) do
        if redrive(dead, entry, pending) then n = n + 1 end
      end
      from = '(' .. page[#page][1]
    end
  end
  if n > 0 then
    call('HINCRBY', dead.meta, 'r', n)
    call('HSET', keys.state, 'n', text(g.n), 'held', g.held or '')
  end
  return n
end

-- reset forgets what is pending, but not the verdicts.
local function reset()
  local st = open(KEYS[1], tag, ARGV[1])
  retain(st, -1, st.age)
  local place = ARGV[8]
  if ARGV[9] ~= '' then place = locate(st, ARGV[8], ARGV[9]) end
  local epoch, id, count = string.match(place, '^(%d+) (%S+) (%d+)$')
  local n = g.n
  local lots = call('HGETALL', keys.lots)
  for i = 1, #lots, 2 do
    local lot = spread(unpacked(lots[i + 1]))
    for j = 1, lot.z do
      if not lot.m[j] or lot.m[j] == 'w' then lot.m[j] = 'x' end
    end
    lot.k = 0
    keeplot(g, lots[i], lot, now)
  end
  call('UNLINK', keys.due, keys.ready, keys.waits, keys.kept)
  for _, field in ipairs(call('HKEYS', keys.members)) do
    if string.sub(field, 1, 2) ~= 's:' then call('HDEL', keys.members, field) end
  end
  call('HSET', keys.state, 'ce', epoch, 'ci', id, 'cc', count, 'n', '0', 'held', '', 'low', '', 'dn', text(g.done))
  return n
end

-- remove forgets consumers, of whose events each is due at once, and returns how many they were.
local function remove(consumers)
  local counts, place, changed = {}, {}, {}
  for i, consumer in ipairs(consumers) do
    counts[i] = 0
    if call('HDEL', keys.members, 's:' .. consumer, 'g:' .. consumer, 'n:' .. consumer) > 0 then place[consumer] = i end
  end
  if not next(place) then return counts end
  eachpending(g, function(id, lot, _, record, base)
    local i = place[lot and lot.c or record.h]
    if not i then return end
    counts[i] = counts[i] + 1
    if lot then
      lot.u, lot.o, lot.q = now, nil, true
      changed[base] = lot
    else
      if call('ZSCORE', keys.due, id) then call('ZADD', keys.due, text(now), id) end
      record.q, record.l, record.y = true, now, 0
      call('HSET', keys.waits, id, pack(record))
    end
  end)
  for base, lot in pairs(changed) do
    keeplot(g, base, lot, now)
  end
  return counts
end

if verb == 'redrive' then return answer(redriveall()) end
if verb == 'reset' then return answer(reset()) end
if verb == 'remove' then return answer(unpack(remove({unpack(ARGV, 8)}))) end
local n = g.n
local z = tonumber(call('HGET', KEYS[2], 'z') or 0)
if g.base > z then call('HSET', KEYS[2], 'z', text(g.base)) end
call('UNLINK', keys.state, keys.lots, keys.due, keys.ready, keys.waits, keys.kept, keys.members, keys.done)
call('SREM', tag .. 'groups', g.name)
return answer(n)
