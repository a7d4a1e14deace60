-- settle_quick: the head of group_settle, and its usual call: all of a lot, which was delivered for the first time and of which nothing was settled, is acknowledged.
-- It returns before there are functions for the rest.
local tag = string.sub(KEYS[2], 1, -2)
local g = load(tag, ARGV[2])
if not g then fail('not_found', NO_GROUP) end
local lane = ARGV[3] ~= '' and tag .. 'l:' .. ARGV[3]
if lane then
  local answer = recall(lane, g.inc, ARGV[4])
  if answer then return answer end
end
local keys = g.keys
local now, us = clock()
local haskept = call('EXISTS', keys.kept) == 1
local gone = 0

-- finish ends the script with an answer.
local function finish(answer)
  payoff(g)
  if g.broken then call('DEL', keys.due) end -- then the next fetch finds what is pending, and nothing due
  call('HSET', keys.state, 'n', text(g.n - gone), 'dn', text(g.done), 'at', text(math.max(us, g.at)))
  if lane then remember(lane, g.inc, ARGV[4], answer) end
  return answer
end

-- acklot acknowledges a whole lot that is as it was stored. Otherwise it does nothing and returns false.
local function acklot(lot, first, n, ids)
  if lot.a or haskept or first ~= 1 or n ~= lot.z or n ~= lot.k or ids ~= lot.i then return false end
  lot.m, lot.k, gone = 'a', 0, gone + n
  owe(g, lot.c, lot.q, -n)
  return true
end

if #ARGV == 14 and ARGV[7] == 'a' and ARGV[8] == g.inc then
  local lot, n = call('HGET', keys.lots, ARGV[9]), tonumber(ARGV[12])
  lot = lot and unpacked(lot)
  if lot and acklot(lot, ARGV[13] + 1, n, ARGV[14]) then
    keeplot(g, ARGV[9], lot, now)
    return finish(string.rep('k', n))
  end
end
