#!lua flags=allow-oom
-- group_ensure: creates a group, or confirms that it has these settings.
-- KEYS  1 the stream  2 its m; beside it groups and what group_core names
-- ARGV  1 how a history begins, see open  2 the group  3 lease (ms)  4 deliveries (-1: no bound)  5 dead letters kept (events)  6 and how long (ms)
--       7 "1": take these settings  8 where it begins, as its creator said it  9 that place, or a kind for locate  10 the value of the kind
-- Answers what groupinfo_lib says.
local st = open(KEYS[1], string.sub(KEYS[2], 1, -2), ARGV[1])
retain(st, -1, st.age)
local g = load(st.tag, ARGV[2])
local keys = groupkeys(st.tag, ARGV[2])

-- adopt makes pending what a server that may drop keys has left of a group. Its receipts are good no more, so all of it can be delivered at once.
local function adopt()
  local now, ids = clock(), {}
  call('DEL', keys.due, keys.ready, keys.members, keys.done)
  eachpending({keys = keys}, function(id, lot, _, record)
    record = record or {n = 1, d = lot.d}
    record.h, record.q, record.b, record.y, record.l = nil, nil, nil, nil, now
    call('HSET', keys.waits, id, pack(record))
    call('ZADD', keys.ready, inorder(id))
    ids[#ids + 1] = id
  end)
  call('DEL', keys.lots)
  table.sort(ids, before)
  call('HSET', keys.state, 'n', text(#ids), 'held', ids[#ids] or '', 'low', ids[1] or '')
end

if not g then
  local place = ARGV[9]
  if ARGV[10] ~= '' then place = locate(st, ARGV[9], ARGV[10]) end
  local epoch, id, count = string.match(place, '^(%d+) (%S+) (%d+)$')
  local _, us = clock()
  local inc = math.max(us, tonumber(call('HGET', st.meta, 'z') or 0) + 1)
  call('HSET', keys.state, 'inc', text(inc), 'base', text(inc), 'ce', epoch, 'ci', id, 'cc', count, 'dn', '0', 'from', ARGV[8])
  adopt()
elseif text(g.lease) ~= ARGV[3] or text(g.max) ~= ARGV[4] or text(g.deadkeep) ~= ARGV[5] or text(g.deadage) ~= ARGV[6] then
  if ARGV[7] ~= '1' then
    fail('conflict', string.format('the group exists with Lease %.0f ms, MaxDeliveries %.0f, DeadLetter.Events %.0f and DeadLetter.Age %.0f ms; ask for the same, or set Update',
      g.lease, g.max, g.deadkeep, g.deadage))
  end
end
call('SADD', st.tag .. 'groups', ARGV[2])
call('HSET', keys.state, 'lease', ARGV[3], 'max', ARGV[4], 'de', ARGV[5], 'da', ARGV[6])
return groupinfo(st, load(st.tag, ARGV[2]))
