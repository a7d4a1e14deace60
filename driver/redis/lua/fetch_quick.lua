-- fetch_quick: the head of group_fetch, and its usual call: the caller has read what follows the place of the group, and nothing else is to be done. It returns
-- before there are functions for the rest.
local tag = string.sub(KEYS[2], 1, -2)
local g = load(tag, ARGV[2])
if not g then fail('not_found', NO_GROUP) end
local keys, consumer, room = g.keys, ARGV[3], tonumber(ARGV[5])
local now, us = clock()
local lane = ARGV[8] ~= '' and tag .. 'l:' .. ARGV[8]
local recalled = lane and recall(lane, g.inc, ARGV[9])
local seen, gap = unpack(call('HMGET', keys.members, 's:' .. consumer, 'g:' .. consumer))
local first = call('ZRANGE', keys.due, 0, 0, 'WITHSCORES')

-- begin is a lot with a base of its own, of ids that are to be counted.
local function begin(ids)
  g.base = math.max(g.base + 1, us)
  local length = ARGV[6] ~= '' and tonumber(ARGV[6]) or g.lease
  return {c = consumer, u = now + length, l = length ~= g.lease and length or nil, d = now, i = ids, k = 0, m = {}}
end

-- moves stores the place of the group, by how many more events are pending, and how many the consumer got; and other fields.
local function moves(more, got, ...)
  g.n = g.n + more
  owe(g, consumer, false, got)
  payoff(g)
  call('HSET', keys.state, 'ce', g.epoch, 'ci', g.id, 'cc', text(g.count), 'n', text(g.n), 'dn', text(g.done), 'at', text(us), ...)
end

-- grant stores a lot, the place of the group after it, and other fields, and returns the answer. more events are pending than before.
local function grant(lot, size, counted, more, entries, attempts, ...)
  local base = text(g.base)
  lot.z = lot.k
  moves(more, lot.k, 'base', base, 'size', text(math.ceil(size / lot.k)), ...)
  call('HSET', keys.lots, base, flat(lot))
  call('ZADD', keys.due, text(lot.u), base)
  if lane then remember(lane, g.inc, ARGV[9], 'lot ' .. base) end
  return {'lot', base, g.inc, text(lot.u), g.epoch, text(counted), entries, attempts, at(g.epoch, g.id, g.count)}
end

-- unchanged reports whether nothing was removed from the stream since the caller read, and nothing that he read is too old.
local function unchanged()
  local epoch, removed, age = unpack(call('HMGET', KEYS[2], 'e', 'r', 'ka'))
  local event = call('XRANGE', KEYS[1], g.id, g.id)[1]
  return event and epoch == g.epoch and removed == ARGV[15] and
    (age == '0' or now - string.match(call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1], '^%d+') <= tonumber(age))
end

if ARGV[12] == at(g.epoch, g.id, g.count) and not recalled and (ARGV[4] == '0' or ARGV[4] == g.inc) and seen and now - seen <= 1000 and not gap and
  (g.n == 0 or first[2] and tonumber(first[2]) > now) and call('EXISTS', keys.ready) == 0 and (g.held or '') == '' and us >= g.at and unchanged() then
  local lot, counted = begin(ARGV[19]), g.count
  lot.k = tonumber(ARGV[16])
  local low = g.n > 0 and g.low or ''
  g.id, g.count = ARGV[18], tonumber(ARGV[14])
  return grant(lot, tonumber(ARGV[13]), counted, lot.k, '', {}, 'low', low ~= '' and low or ARGV[17])
end
