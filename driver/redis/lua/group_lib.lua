-- group_lib: what scripts about groups share that do more than the usual call.

-- inorder is the score and the member of an id in a sorted set that has the order of ids.
local function inorder(id)
  local ms, seq = string.match(id, '^(%d+)%-(%d+)$')
  return ms, ms .. '-' .. string.char(64 + #seq) .. seq
end

local function fromorder(member) return (string.gsub(member, '%-.', '-', 1)) end

-- listed makes a table of ids that are one text: they have spaces between them, and "ms-seq+n" are one and the n that follow it in its ms.
local function listed(ids)
  local list = {}
  for id, more in string.gmatch(ids, '([^ +]+)%+?(%d*)') do
    list[#list + 1] = id
    if more ~= '' then
      local ms, seq = string.match(id, '^(%d+%-)(%d+)$')
      for n = 1, more do list[#list + 1] = ms .. text(seq + n) end
    end
  end
  return list
end

-- spread makes tables of what is flat in a lot.
local function spread(lot)
  if type(lot.i) == 'table' then return lot end
  local mark = lot.m == 'a' and 'a'
  lot.i, lot.t = listed(lot.i), lot.i
  if mark then
    lot.m = {}
    for j = 1, lot.z do lot.m[j] = mark end
  end
  return lot
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

-- bury moves a pending event to the dead-letter stream, and reports whether it was there. dead is that stream: main, tag, begin and channel, opened with the
-- first burial.
local function bury(main, g, dead, id, record, reason)
  local entry = entryof(main, g, id)
  if not entry then return false end
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
  return true
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
