#!lua flags=allow-oom
-- group_settle: applies verdicts, each fenced by its receipt.
-- KEYS  1 the stream  2 its m  3 4 the same of its group's dead-letter stream (none of its own: ""); beside them what group_core names, and l:<lane>
-- ARGV  1 how a history begins, see open  2 the group  3 lane ("": none)  4 its seq  5 the channel of the dead-letter stream  6 the channel of the
--       group; then runs of receipts of one lot, with places that follow one another, that get one verdict:
--       verdict (a ack, n nack, e extend, r reject, l release)  incarnation  base  delay (ms)  reason  how many  the first place  ids, see listed
-- Answers a letter for each: k done, now or before; o settled with another verdict before; x the lease is lost; d no dead letters here.
local dead = {main = KEYS[3], tag = string.sub(KEYS[4] or '', 1, -2), begin = ARGV[1], channel = ARGV[5]}
local hasdead = dead.main and dead.main ~= ''
local wake -- in ms: the soonest that something given back is due

local function giveback(id, record, delay)
  record.b, record.l, record.y = nil, now + delay, delay
  local _, member = inorder(id)
  call('ZREM', keys.ready, member)
  call('HSET', keys.waits, id, pack(record))
  call('ZADD', keys.due, text(record.l), id)
  if not wake or delay < wake then wake = delay end
end

-- apply gives one verdict, on the event at a place in a lot. It returns the answer, and whether it changed anything.
local function apply(lot, base, j, id, verdict, delay, reason)
  if lot.i[j] ~= id then return 'x' end
  local mark, record = lot.m[j], nil
  if mark and mark ~= 'w' then return mark == verdict and 'k' or 'o' end
  if mark or lot.a and lot.a[j] then
    record = call('HGET', keys.waits, id)
    record = record and unpacked(record)
    if not record or record.b ~= base then return 'x' end
  end
  if verdict == 'r' and not hasdead then return 'd' end
  local removed = lot.q or record and record.q
  if verdict == 'e' then
    lot.o = lot.o or {}
    delay = delay > 0 and delay or g.lease
    lot.o[j] = now + delay
    if delay > (lot.l or g.lease) then lot.l = delay end
    if mark then
      local _, member = inorder(id)
      call('ZREM', keys.ready, member)
      lot.m[j] = nil
      lot.k = lot.k + 1
      lot.a = lot.a or {}
      lot.a[j] = lot.a[j] or record.n
    end
    return 'k', true
  end
  if not mark then lot.k = lot.k - 1 end
  lot.m[j] = verdict
  if verdict == 'n' then
    record = record or {n = 1, d = lot.d, h = lot.c}
    record.q, record.r, record.k = removed, reason, record.n
    giveback(id, record, delay)
    return 'k', true
  elseif verdict == 'l' then
    record = record or {n = 1, d = lot.d, h = lot.c}
    record.q, record.n = removed, record.n - 1
    giveback(id, record, 0)
    return 'k', true
  end
  if verdict == 'r' then
    bury(KEYS[1], g, dead, id, record or {n = 1, h = lot.c}, reason ~= '' and reason or 'rejected')
  end
  if record then forget(g, id) elseif haskept then call('HDEL', keys.kept, id) end
  owe(g, lot.c, removed, -1)
  gone = gone + 1
  return 'k', true
end

-- ackall acknowledges a run of events that were delivered once and that no one has settled. Otherwise it does nothing and returns false.
local function ackall(lot, first, n, ids)
  if acklot(lot, first, n, ids) then return true end
  spread(lot)
  if lot.a or haskept then return false end
  for j, id in ipairs(listed(ids)) do
    if lot.i[first + j - 1] ~= id or lot.m[first + j - 1] then return false end
  end
  for j = first, first + n - 1 do lot.m[j] = 'a' end
  lot.k = lot.k - n
  owe(g, lot.c, lot.q, -n)
  gone = gone + n
  return true
end

-- even lets a lot have one end for all that it still holds, if they have the same.
local function even(lot)
  local ends
  for j = 1, lot.z do
    if not lot.m[j] then
      local u = lot.o[j] or lot.u
      if ends and u ~= ends then return end
      ends = u
    end
  end
  lot.u, lot.o = ends or lot.u, nil
end

local answer, lots, changed = {}, {}, {}
local arg = 7
while ARGV[arg] do
  local verdict, inc, base, delay, reason, n, first, ids = unpack(ARGV, arg, arg + 7)
  delay, n, first, arg = tonumber(delay), tonumber(n), tonumber(first) + 1, arg + 8
  local lot = inc == g.inc and lots[base]
  if lot == nil then
    lot = call('HGET', keys.lots, base)
    lot = lot and unpacked(lot)
    lots[base] = lot
  end
  if not lot then
    answer[#answer + 1] = string.rep('x', n)
  elseif verdict == 'a' and ackall(lot, first, n, ids) then
    answer[#answer + 1] = string.rep('k', n)
    changed[base] = true
  else
    spread(lot)
    local j = first
    for _, id in ipairs(listed(ids)) do
      local said, touched = apply(lot, base, j, id, verdict, delay, reason)
      answer[#answer + 1] = said
      if touched then changed[base] = true end
      j = j + 1
    end
  end
end

for base, lot in pairs(lots) do
  if lot then
    if lot.o and lot.k > 0 then even(lot) end
    if changed[base] then keeplot(g, base, lot, now) end
  end
end
lastrites(g, dead)
local all = finish(table.concat(answer))
if wake then call('PUBLISH', ARGV[6], text(wake)) end
return all
