-- groupinfo_lib: describes a group: {name, lease, max, dead keep, dead age, from, incarnation, position, lag, pending, age of the oldest (ms), dead
-- letters, consumers: name, pending, last seen (ms), ...}.

-- IDLE is the time in ms after which a consumer without pending events is forgotten.
local IDLE = 3600000

-- lagof counts the events after the cursor of a group.
local function lagof(st, g)
  if g.epoch ~= st.epoch or before(g.id, st.trimmed) then return st.length end
  local most = math.min(st.length, math.max(0, st.added - g.count))
  if most == 0 or most > 1000 or st.deleted == '0-0' or not before(g.id, st.deleted) then return most end
  return #call('XRANGE', st.main, '(' .. g.id, '+', 'COUNT', most + 1)
end

local function groupinfo(st, g)
  local now = clock()
  local oldest, since, age = nil, nil, 0
  if g.n > 0 then
    eachpending(g, function(id, lot, _, record)
      if not oldest or before(id, oldest) then oldest, since = id, record and record.d or lot.d end
    end)
    if since then age = math.max(0, now - since) end
  end
  local consumers = {}
  local members = call('HGETALL', g.keys.members)
  local pending = {}
  for i = 1, #members, 2 do
    if string.sub(members[i], 1, 2) == 'n:' then pending[string.sub(members[i], 3)] = members[i + 1] end
  end
  for i = 1, #members, 2 do
    if string.sub(members[i], 1, 2) == 's:' then
      local name = string.sub(members[i], 3)
      if pending[name] or now - members[i + 1] <= IDLE then
        for _, v in ipairs({name, pending[name] or '0', members[i + 1]}) do consumers[#consumers + 1] = v end
      end
    end
  end
  local dead = g.tag .. 'dead:' .. g.name
  return {
    g.name, text(g.lease), text(g.max), text(g.deadkeep), text(g.deadage), g.from, g.inc, at(g.epoch, g.id, g.count), text(lagof(st, g)), text(g.n),
    text(age), text(call('XLEN', dead)), consumers,
  }
end
