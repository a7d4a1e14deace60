-- What leaves a place of the queue, see the bundles of prelude_actions.lua.

-- bundled tells the ids of a bundle.
local bundles = {}
local function bundled(member)
  local list = bundles[member]
  if not list then
    list = {}
    for id in member:sub(9):gmatch('%Z+') do list[#list + 1] = id end
    bundles[member] = list
  end
  return list
end

-- first tells the ids that stand first in a set, up to a score and at most so many, and the bundles they are from, each with its score.
local function first(set, highest, most)
  local list, members, some, at, size = {}, {}, nil, 0, 2
  repeat
    some = redis.call('ZRANGE', set, '-inf', highest, 'BYSCORE', 'LIMIT', at, size, 'WITHSCORES')
    for i = 1, #some, 2 do
      if #list == most then break end
      members[#members + 1], members[#members + 2] = some[i], some[i + 1]
      for _, id in ipairs(bundled(some[i])) do
        if #list == most then break end
        list[#list + 1] = id
      end
    end
    at, size = at + size, 2 * size
  until #list == most or #some < size
  return list, members
end

-- shrink takes ids out of bundles of a set, and forgets those that it has found.
local function shrink(set, members, leaving)
  local gone, left = {}, {}
  for i = 1, #members, 2 do
    local member, rest, found = members[i], {}, false
    for _, id in ipairs(bundled(member)) do
      if leaving[id] then
        leaving[id], found = nil, true
      else
        rest[#rest + 1] = id
      end
    end
    if found then
      gone[#gone + 1] = member
      local n = #left
      if #rest > 0 then left[n + 1], left[n + 2] = members[i + 1], member:sub(1, 8) .. table.concat(rest, '\0') end
    end
  end
  each('ZREM', set, gone)
  each('ZADD', set, left)
end

-- leave takes ids out of a set. leaving tells their scores.
local function leave(set, leaving)
  for _, score in pairs(leaving) do
    local at = text(score)
    shrink(set, redis.call('ZRANGE', set, at, at, 'BYSCORE', 'WITHSCORES'), leaving)
  end
end
