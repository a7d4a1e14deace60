-- stream_lib: what scripts about streams share that look at one, or change it. It stands behind what the usual call needs, since to make functions takes
-- time.
local function split(id)
  local ms, seq = string.match(id, '^(%d+)%-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

-- before reports whether id a is less than id b.
local function before(a, b)
  if a == b then return false end
  local am, as = split(a)
  local bm, bs = split(b)
  return am < bm or am == bm and as < bs
end

-- pred is the greatest id below an id.
local function pred(id)
  local ms, seq = split(id)
  if seq > 0 then return text(ms) .. '-' .. text(seq - 1) end
  if ms > 0 then return text(ms - 1) .. '-18446744073709551615' end
  return '0-0'
end

-- countof is the count of an entry, nil of one that others wrote.
local function countof(entry)
  local f = entry[2]
  if f[3] ~= 'rpw' then return nil end
  local count = string.match(f[4], '^=(%d+)')
  if count then return tonumber(count) end
  local _, seq = split(entry[1])
  return string.match(f[4], '^%-?%d+') + seq
end

-- leave notes that the newest event is that of an id with a count; "": others may have added more.
local function leave(st, count, id)
  call('HSET', st.meta, 'n', count .. ' ' .. id .. ' ' .. st.heard .. ' ' .. st.seq .. ' ' .. st.producer)
end

-- replaced reports whether a stream never had the newest event that rpw knew: others have deleted the one that did, and added as many events again.
local function replaced(st, newest, trimmed, removed)
  if newest == '' or newest == st.last then return false end
  if before(st.last, newest) then return true end
  return st.added - st.length <= tonumber(removed) and before(trimmed, newest) and before(st.deleted, newest) and
    #call('XRANGE', st.main, newest, newest) == 0
end

-- open looks at a stream. If there is no history of it, or the key holds another one than rpw knew (it was deleted by
-- others), a new one begins: as "epoch keep", an epoch that the caller has drawn and how many events it keeps if nobody says otherwise.
local function open(main, tag, begin)
  settled()
  local st = {main = main, tag = tag, meta = tag .. 'm', length = 0, added = 0, last = '0-0', deleted = '0-0', first = false}
  local info = redis.pcall('XINFO', 'STREAM', main)
  if info.err then
    if not string.find(info.err, 'no such key', 1, true) then error(info) end
  else
    local f = {}
    for i = 1, #info, 2 do f[info[i]] = info[i + 1] end
    st.length, st.added, st.last, st.deleted = f.length, f['entries-added'], f['last-generated-id'], f['max-deleted-entry-id']
    st.first = f['first-entry']
  end
  local m = call('HMGET', st.meta, 'e', 't', 'tc', 'r', 'ke', 'ka', 'n')
  local added, newest, heard, seq, producer = string.match(m[7] or '', '^(%d+) (%S*) (%d+) (%d*) (.*)$')
  if added and st.added >= tonumber(added) and not replaced(st, newest, m[2], m[4]) then
    st.epoch, st.trimmed, st.tcount, st.removed = m[1], m[2], tonumber(m[3]), tonumber(m[4])
    st.keep, st.age, st.heard, st.seq, st.producer = tonumber(m[5]), tonumber(m[6]), tonumber(heard), seq, producer
    if st.last == newest then
      st.added = tonumber(added) -- without what others have added and deleted before it
    elseif newest ~= '' and not PEEKS then
      leave(st, added, '')
    end
    return st
  end
  local epoch, keep = string.match(begin, '^(%d+) (%S+)$')
  if PEEKS then -- what is absent has no history, and needs none
    if st.added > 0 then fail('permission', 'nobody who may write has looked at this stream yet, so its history has no epoch; that takes HSET on ' .. st.meta) end
    epoch = '0'
  end
  st.epoch, st.trimmed, st.tcount, st.removed = epoch, '0-0', st.added - st.length, st.added - st.length
  st.keep, st.age, st.heard, st.seq, st.producer = tonumber(m[5] or keep), tonumber(m[6] or 0), 0, '', ''
  if PEEKS then return st end
  call('HSET', st.meta, 'e', epoch, 't', '0-0', 'tc', text(st.tcount), 'r', text(st.removed), 'ke', text(st.keep), 'ka', text(st.age))
  leave(st, text(st.added), '')
  local parent, group = string.match(tag, '^(%b{}:)of%-dead:%d+:(.*):$')
  if parent then call('SADD', parent .. 'dead', group) end
  return st
end

-- head is the oldest entry, false if there is none.
local function head(st)
  if st.first == nil then st.first = call('XRANGE', st.main, '-', '+', 'COUNT', 1)[1] or false end
  return st.first
end

local function ending(st) return at(st.epoch, st.last, st.added) end

-- foreign reports whether others have removed events.
local function foreign(st) return st.added - st.length > st.removed end

-- oldest is the place before the oldest event.
local function oldest(st)
  if not foreign(st) then return at(st.epoch, st.trimmed, st.tcount) end
  local entry = head(st)
  if not entry then return ending(st) end
  return at(st.epoch, pred(entry[1]), (countof(entry) or st.tcount + 1) - 1)
end

-- resume looks whether history is missing between a place and the first event that is there after it. entries are those from the
-- place on, its own event included. It returns nil, or the kind of the gap and how many events are known to be missing.
local function resume(st, epoch, id, count, entries)
  if epoch ~= st.epoch or before(st.last, id) or count > st.added then return 'reset', 0 end
  local begin = id == '0-0'
  local counted = begin or count > 0
  if before(id, st.trimmed) then
    if not counted or before(id, st.deleted) then return 'trimmed', 0 end
    return 'trimmed', st.tcount - count
  end
  local next = entries[1]
  if next and next[1] == id then
    local c = countof(next)
    if c and counted and c ~= count then return 'reset', 0 end
    return nil
  end
  -- Its event is not there. Was it trimmed or deleted, or never in this history?
  local follows = st.added + 1
  if next then follows = countof(next) end
  if counted and follows and follows <= count then return 'reset', 0 end
  if id == st.last then
    if counted and count ~= st.added then return 'reset', 0 end
    return nil
  end
  local deleted = st.deleted ~= '0-0' and not before(st.deleted, id)
  local prev = not begin and call('XREVRANGE', st.main, '(' .. id, '-', 'COUNT', 1)[1]
  if prev then
    local c = countof(prev)
    if not deleted or counted and c and c >= count then return 'reset', 0 end
    return nil
  end
  if counted and st.added - st.length < count then return 'reset', 0 end
  local edge = id == st.trimmed
  if edge and counted and count ~= st.tcount then return 'reset', 0 end
  if foreign(st) or not begin and not edge and not deleted then
    if counted and follows == count + 1 or next and pred(next[1]) == id then return nil end
    if deleted then return 'possible', 0 end
    if not counted or not follows then return 'trimmed', 0 end
    return 'trimmed', follows - 1 - count
  end
  return nil
end

-- nextids says what new ids begin with, and the offset of their counts: all of one script get one time, so they follow one another.
local function nextids(st)
  if not st.ms then
    local now, ms, seq = clock(), split(st.last)
    if now > ms then
      ms, seq = now, -1
    elseif seq >= 2 ^ 52 then -- of others; more would not be exact here
      ms, seq = ms + 1, -1
    end
    st.ms, st.offset = text(ms) .. '-*', text(st.added - seq)
  end
  return st.ms, st.offset
end

-- append adds one event with these fields after type and data, whose first two are rpw and what follows the offset in the
-- meta field.
local function append(st, kind, data, meta, headers)
  local ms, offset = nextids(st)
  if headers then
    st.last = call('XADD', st.main, ms, kind, data, 'rpw', offset .. meta, unpack(headers))
  else
    st.last = call('XADD', st.main, ms, kind, data, 'rpw', offset .. meta)
  end
  st.added = st.added + 1
  st.length = st.length + 1
  return st.last
end

-- removes takes note that the oldest events up to an entry were trimmed.
local function removes(st, entry, n)
  st.length = st.length - n
  st.removed = st.removed + n
  st.trimmed = entry[1]
  st.tcount = countof(entry) or st.added - st.length
  st.first = nil
  call('HSET', st.meta, 't', st.trimmed, 'tc', text(st.tcount), 'r', text(st.removed))
end

-- A group gives up no event that it has delivered: rescue copies those of its pending events that are about to go. goes tells, of an entry,
-- whether it does.
local rescue

-- trim keeps the newest events: most of them, and none older than horizon, a time in ms; both may be nil. It returns how many went.
local function trim(st, most, horizon)
  local n = 0
  if most and st.length > most then
    local over = st.length - most
    -- most events follow the newest one that goes, so its count is at most this.
    local edge = st.added - most
    rescue(st, function(entry) return (countof(entry) or 0) <= edge end)
    if over > 1 then call('XTRIM', st.main, 'MAXLEN', '=', text(most + 1)) end
    local newest = call('XRANGE', st.main, '-', '+', 'COUNT', 1)[1]
    call('XTRIM', st.main, 'MAXLEN', '=', text(most))
    removes(st, newest, over)
    n = over
  end
  if horizon and horizon > 0 and st.length > 0 then
    local newest = call('XREVRANGE', st.main, '(' .. text(horizon) .. '-0', '-', 'COUNT', 1)[1]
    if newest then
      rescue(st, function(entry) return (split(entry[1])) < horizon end)
      local over = call('XTRIM', st.main, 'MINID', '=', text(horizon) .. '-0')
      removes(st, newest, over)
      n = n + over
    end
  end
  return n
end

-- DEFAULT_KEEP is how many events a stream keeps that nobody configured.
local DEFAULT_KEEP <const> = 1000000

-- retain applies a retention (events: 0 default, -1 no bound; age in ms: 0 no bound), by length with some slack so that it is not done
-- at each publish.
local function retain(st, keep, age)
  if PEEKS then return 0 end
  local most, horizon
  if keep == 0 then keep = DEFAULT_KEEP end
  if keep >= 0 and st.length > keep + math.max(100, math.floor(keep / 100)) then most = keep end
  if age > 0 and head(st) then
    horizon = clock() - age
    if (split(st.first[1])) >= horizon then horizon = nil end
  end
  if most or horizon then return trim(st, most, horizon) end
  return 0
end
