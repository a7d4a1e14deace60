-- group_lib: what the scripts about groups share. What a group has delivered is kept in lots, one for each fetch: who holds it, until when, and its
-- ids in order; the token of an event is its lot's base and its place in the lot. Only what has to be delivered again gets a record of its
-- own. The keys of group g, beside its stream:
--   g:<g>   hash: inc lease max de da from settings; base of the newest lot; ce ci cc cursor; n pending; low below the ids of what is pending and
--           not kept; held the greatest id pending ahead of the cursor; size of an event; dn events in done
--   gl:<g>  hash: base -> lot {c consumer, u until, d delivered, i ids, z how many, k outstanding, m marks: index -> verdict or w, o index -> until
--           of its own, a index -> attempt, q its holder was removed, e its entry in done}. What is stored is flat: the ids are one text, and a for all
--           marks says that all were acknowledged at once
--   gd:<g>  sorted set: when (ms) -> base of a lot whose lease may end, or id of an event that waits
--   gr:<g>  sorted set of what can be delivered again, in order of ids
--   gw:<g>  hash: id -> {n attempts, d first delivered, l when it could be delivered again, h holder, q he was removed, b its lot while its receipt
--           is good, r reason of the last nack, k attempt it ended}
--   gk:<g>  hash: id -> fields of a pending event that the stream no longer has
--   gc:<g>  hash: s:<consumer> last seen (ms), n:<consumer> pending, g:<consumer> gap to be told
--   gs:<g>  list of lots that are settled, "base events ms", for repeats of their verdicts
--   swept:<g>  string, expires: consumers were looked through a short while ago
local pack, unpacked = cmsgpack.pack, cmsgpack.unpack

local function groupkeys(tag, name)
  return {
    state = tag .. 'g:' .. name, lots = tag .. 'gl:' .. name, due = tag .. 'gd:' .. name, ready = tag .. 'gr:' .. name, waits = tag .. 'gw:' .. name,
    kept = tag .. 'gk:' .. name, members = tag .. 'gc:' .. name, done = tag .. 'gs:' .. name,
  }
end

-- inorder is the score and the member of an id in a sorted set that has the order of ids.
local function inorder(id)
  local ms, seq = string.match(id, '^(%d+)%-(%d+)$')
  return ms, ms .. '-' .. string.char(64 + #seq) .. seq
end

local function fromorder(member) return (string.gsub(member, '%-.', '-', 1)) end

-- load reads a group; nil if there is none.
local function load(tag, name)
  settled()
  local keys = groupkeys(tag, name)
  local v = call('HMGET', keys.state, 'inc', 'lease', 'max', 'de', 'da', 'base', 'ce', 'ci', 'cc', 'n', 'held', 'size', 'dn', 'from', 'low')
  if not v[1] then return nil end
  return {
    name = name, tag = tag, keys = keys, inc = v[1], lease = tonumber(v[2]), max = tonumber(v[3]), deadkeep = tonumber(v[4]), deadage = tonumber(v[5]),
    base = tonumber(v[6]), epoch = v[7], id = v[8], count = tonumber(v[9]), n = tonumber(v[10]), held = v[11], size = tonumber(v[12] or 0),
    done = tonumber(v[13] or 0), from = v[14], low = v[15],
  }
end

local NO_GROUP = 'the stream has no group of this name; call EnsureGroup first'

-- spread makes tables of what is flat in a lot.
local function spread(lot)
  if type(lot.i) == 'table' then return lot end
  local ids, mark = {}, lot.m == 'a' and 'a'
  for id in string.gmatch(lot.i, '%S+') do ids[#ids + 1] = id end
  lot.i = ids
  if mark then
    lot.m = {}
    for j = 1, lot.z do lot.m[j] = mark end
  end
  return lot
end

-- flat is a lot as it is stored.
local function flat(lot)
  local ids = lot.i
  if type(ids) == 'table' then lot.i = table.concat(ids, ' ') end
  local data = pack(lot)
  lot.i = ids
  return data
end

local function getlot(g, base)
  local data = call('HGET', g.keys.lots, base)
  return data and spread(unpacked(data))
end

-- entryof is a pending event: from the stream, or kept. It is nil if others removed it.
local function entryof(main, g, id)
  local kept = call('HGET', g.keys.kept, id)
  if kept then return {id, unpacked(kept)} end
  return call('XRANGE', main, id, id)[1]
end

-- eachpending calls f(id, lot, index, record, base) for all that is pending: of a lot, or with a record, or both.
local function eachpending(g, f)
  local waits = call('HGETALL', g.keys.waits)
  local records = {}
  for i = 1, #waits, 2 do records[waits[i]] = unpacked(waits[i + 1]) end
  local lots = call('HGETALL', g.keys.lots)
  for i = 1, #lots, 2 do
    local lot = unpacked(lots[i + 1])
    if lot.k > 0 then
      for j, id in ipairs(spread(lot).i) do
        if not lot.m[j] then
          f(id, lot, j, records[id], lots[i])
          records[id] = nil
        end
      end
    end
  end
  for id, record in pairs(records) do f(id, nil, nil, record) end
end

rescue = function(st, goes, anywhere)
  for _, name in ipairs(call('SMEMBERS', st.tag .. 'groups')) do
    local g = load(st.tag, name)
    local low = g and g.n > 0 and g.low
    if low and low ~= '' then
      local entry = not anywhere and call('XRANGE', st.main, low, low)[1]
      if not entry or goes(entry) then
        local ids = {}
        eachpending(g, function(id) ids[#ids + 1] = id end)
        table.sort(ids, before)
        low = ''
        for _, id in ipairs(ids) do
          entry = call('HEXISTS', g.keys.kept, id) == 0 and call('XRANGE', st.main, id, id)[1]
          if entry and goes(entry) then
            call('HSET', g.keys.kept, id, pack(entry[2]))
          elseif entry then
            if low == '' then low = id end
            if not anywhere then break end
          end
        end
        call('HSET', g.keys.state, 'low', low)
      end
    end
  end
end

-- bury moves a pending event to the dead-letter stream. dead is that stream: main, tag, begin and channel, opened with the first burial.
local function bury(main, g, dead, id, record, reason)
  local entry = entryof(main, g, id)
  if not entry then return end
  if not dead.st then dead.st = open(dead.main, dead.tag, dead.begin) end
  local f = entry[2]
  local origin, key = '', ''
  local headers, from = {}, 3
  if f[3] == 'rpw' then
    from = 5
    origin, key = '/' .. g.epoch .. '/' .. text(countof(entry)), string.match(f[4], '^[^ ]*(.*)$')
  else
    origin = '/' .. g.epoch .. '/0'
  end
  for i = from, #f do headers[#headers + 1] = f[i] end
  local function header(name, value)
    for i = 1, #headers, 2 do
      if headers[i] == name then headers[i + 1] = value return end
    end
    headers[#headers + 1] = name
    headers[#headers + 1] = value
  end
  header('rpw-dead-reason', reason)
  header('rpw-dead-attempts', text(record.n))
  header('rpw-dead-id', id)
  if record.h then header('rpw-dead-consumer', record.h) end
  append(dead.st, f[1], f[2], origin .. key, headers)
end

-- lastrites ends the burials of a script: the dead-letter stream keeps what it should, and its readers are woken.
local function lastrites(g, dead)
  local st = dead.st
  if not st then return end
  call('HSET', st.meta, 'ke', text(g.deadkeep), 'ka', text(g.deadage))
  leave(st, text(st.added), '')
  retain(st, g.deadkeep, g.deadage)
  call('PUBLISH', dead.channel, ending(st))
end

local function exhausted(g, record) return g.max >= 0 and record.n >= g.max end

-- failure is why the last attempt ended.
local function failure(record)
  if record.r and record.r ~= '' and record.k == record.n then return record.r end
  return 'max deliveries'
end

-- owe changes how many events a consumer holds; payoff, at the end of a script, stores what all changes come to. removed: he is not counted.
local function owe(g, consumer, removed, n)
  g.owed = g.owed or {}
  if consumer and not removed then g.owed[consumer] = (g.owed[consumer] or 0) + n end
end

local function payoff(g)
  for consumer, n in pairs(g.owed or {}) do
    if n ~= 0 and call('HINCRBY', g.keys.members, 'n:' .. consumer, n) == 0 then call('HDEL', g.keys.members, 'n:' .. consumer) end
  end
end

-- keeplot stores a lot. Once nothing of it is outstanding, only its verdicts are remembered: those of the group's newest 10,000 events
-- and of the last two minutes, whichever is less.
local function keeplot(g, base, lot, now)
  if lot.k > 0 then
    if lot.e then
      g.done = g.done - lot.z * call('LREM', g.keys.done, 1, lot.e)
      lot.e = nil
    end
    call('HSET', g.keys.lots, base, flat(lot))
    local due
    for j = 1, lot.z do
      local ends = not lot.m[j] and (lot.o and lot.o[j] or lot.u)
      if ends and (not due or ends < due) then due = ends end
    end
    call('ZADD', g.keys.due, text(due), base)
    return
  end
  local finished = not lot.e
  if finished then lot.e = base .. ' ' .. lot.z .. ' ' .. text(now) end
  call('HSET', g.keys.lots, base, flat(lot))
  if not finished then return end
  call('ZREM', g.keys.due, base)
  call('RPUSH', g.keys.done, lot.e)
  g.done = g.done + lot.z
  for _ = 1, 4 do
    local oldest = call('LINDEX', g.keys.done, 0)
    if not oldest then break end
    local b, n, ms = string.match(oldest, '^(%d+) (%d+) (%d+)$')
    if now - ms <= WINDOW and g.done - n < 10000 then break end
    call('LPOP', g.keys.done)
    g.done = g.done - n
    call('HDEL', g.keys.lots, b)
  end
end

-- forget ends an event that has a record.
local function forget(g, id)
  call('HDEL', g.keys.waits, id)
  call('HDEL', g.keys.kept, id)
  local _, member = inorder(id)
  call('ZREM', g.keys.ready, member)
  call('ZREM', g.keys.due, id)
end

-- leave word of a gap for all consumers. Two gaps that nobody heard of are told as one.
local function leaveword(g, kind, missed, after, resume, oldest)
  local members = call('HGETALL', g.keys.members)
  local waiting = {}
  for i = 1, #members, 2 do
    if string.sub(members[i], 1, 2) == 'g:' then waiting[string.sub(members[i], 3)] = unpacked(members[i + 1]) end
  end
  for i = 1, #members, 2 do
    if string.sub(members[i], 1, 2) == 's:' then
      local consumer = string.sub(members[i], 3)
      local gap = {kind, missed, after, resume, oldest}
      local first = waiting[consumer]
      if first then
        if first[1] == 'reset' then gap[1] = 'reset' end
        gap[2] = first[2] > 0 and missed > 0 and first[2] + missed or 0
        gap[3] = first[3]
      end
      call('HSET', g.keys.members, 'g:' .. consumer, pack(gap))
    end
  end
end
