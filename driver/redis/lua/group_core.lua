-- group_core: what the scripts about groups share, and group_lib after it. What a group has delivered is kept in lots, one for each fetch: who holds it, until when, and its
-- ids in order; the token of an event is its lot's base and its place in the lot. Only what has to be delivered again gets a record of its
-- own. The keys of group g, beside its stream:
--   g:<g>   hash: inc lease max de da from settings; base of the newest lot; ce ci cc cursor; n pending; low below the ids of what is pending and
--           not kept; held the greatest id pending ahead of the cursor; size of an event; dn events in done; at the newest time (us) when
--           leases were given or renewed
--   gl:<g>  hash: base -> lot {c consumer, u until, d delivered, i ids, z how many, k outstanding, m marks: index -> verdict or w, o index -> until
--           of its own, l the longest of its leases (ms) if not the group's, a index -> attempt, q its holder was removed, e its entry in done}. What
--           is stored is flat: the ids are one text, see listed, and a for all marks says that all were acknowledged at once
--   gd:<g>  sorted set: when (ms) -> base of a lot whose lease may end, or id of an event that waits
--   gr:<g>  sorted set of what can be delivered again, in order of ids
--   gw:<g>  hash: id -> {n attempts, d first delivered, l when it could be delivered again, y how long after it was given back (ms), h holder, q he was removed,
--           b its lot while its receipt is good, r reason of the last nack, k attempt it ended}
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

-- load reads a group; nil if there is none.
local function load(tag, name)
  settled()
  local keys = groupkeys(tag, name)
  local v = call('HMGET', keys.state, 'inc', 'lease', 'max', 'de', 'da', 'base', 'ce', 'ci', 'cc', 'n', 'held', 'size', 'dn', 'from', 'low', 'at')
  if not v[1] then return nil end
  return {
    name = name, tag = tag, keys = keys, inc = v[1], lease = tonumber(v[2]), max = tonumber(v[3]), deadkeep = tonumber(v[4]), deadage = tonumber(v[5]),
    base = tonumber(v[6]), epoch = v[7], id = v[8], count = tonumber(v[9]), n = tonumber(v[10]), held = v[11], size = tonumber(v[12] or 0),
    done = tonumber(v[13] or 0), from = v[14], low = v[15], at = tonumber(v[16] or 0),
  }
end

local NO_GROUP = 'the stream has no group of this name; call EnsureGroup first'

-- flat is a lot as it is stored.
local function flat(lot)
  local ids, all = lot.i, lot.t
  if type(ids) == 'table' then lot.i, lot.t = all or table.concat(ids, ' '), nil end
  local data = pack(lot)
  lot.i, lot.t = ids, all
  return data
end

-- owe changes how many events a consumer holds; payoff, at the end of a script, stores what all changes come to. removed: he is not counted.
local function owe(g, consumer, removed, n)
  g.owed = g.owed or {}
  if consumer and not removed then g.owed[consumer] = (g.owed[consumer] or 0) + n end
end

local function payoff(g)
  for consumer, n in pairs(g.owed or {}) do
    if n ~= 0 and call('HINCRBY', g.keys.members, 'n:' .. consumer, n) <= 0 then call('HDEL', g.keys.members, 'n:' .. consumer) end
  end
end

-- keeplot stores a lot. Once nothing of it is outstanding, only its verdicts are remembered: those of the group's newest 10,000 events
-- and of the last two minutes, whichever is less. Older ones are forgotten together, at every eighth lot. g.broken: it should have been due, so a server that may drop
-- keys has dropped when all were.
local function keeplot(g, base, lot, now)
  if lot.k > 0 then
    local waited = not lot.e
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
    if call('ZADD', g.keys.due, text(due), base) == 1 and waited then g.broken = true end
    return
  end
  local finished = not lot.e
  if finished then
    lot.e = base .. ' ' .. lot.z .. ' ' .. text(now)
  elseif call('HEXISTS', g.keys.lots, base) == 0 then -- another lot of this script was one too many
    return
  end
  call('HSET', g.keys.lots, base, flat(lot))
  if not finished then return end
  if call('ZREM', g.keys.due, base) == 0 then g.broken = true end
  local finishes = call('RPUSH', g.keys.done, lot.e)
  g.done = (finishes == 1 and 0 or g.done) + lot.z
  if finishes % 8 > 0 then return end
  local old = {}
  for j, entry in ipairs(call('LRANGE', g.keys.done, 0, 31)) do
    local b, n, ms = string.match(entry, '^(%d+) (%d+) (%d+)$')
    if now - ms <= WINDOW and g.done - n < 10000 then break end
    old[j] = b
    g.done = g.done - n
  end
  if #old == 0 then return end
  call('LTRIM', g.keys.done, #old, -1)
  call('HDEL', g.keys.lots, unpack(old))
end
