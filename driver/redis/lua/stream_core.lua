-- stream_core: what all scripts about streams share, and stream_lib after it. A stream is the key main and, in the same slot, tag .. suffix:
--   m         hash: e epoch, t tc id and count of the newest event that retention took, r how many events rpw has removed, ke ka retention (events; age
--             in ms), n what rpw's newest publish has left: "count id heard seq producer" of its last event, of how many heard of it, and of the batch,
--             pa the answer to it, z the greatest base of a deleted group
--   p:<id>    string, expires: the last batch of a producer, if it is not that one, "epoch seq answer"
--   k:<key>   string, expires: where the event of a key went, "epoch id count"
--   l:<lane>  string, expires: the last answer of a lane
--   dead      set: the groups that have a dead-letter stream, {main}:dead:<group>, whose tag is {main}:of-dead:<length of group>:<group>:
--   groups    set: names; for the keys of a group see group_core
-- An entry is "type data rpw meta", then its headers; meta is "=count", "offset", "offset key", or of a dead letter "offset/epoch/count key", where the
-- latter two are its origin's. Its count is offset + the second half of its id: all that a script adds has one offset, which is written out once.
-- Entries without the second pair are of others.
local call = redis.call

-- While a slot of a cluster moves, keys that are not among KEYS may be on the other node, and it would seem that there are none. settled ends a
-- script then, before it has done anything: the node that a slot leaves refuses to look for a key that is not there, the one that it comes to,
-- for two.
local function settled() call('EXISTS', KEYS[2] .. '-', KEYS[2] .. '+') end

-- fail ends the script with an error of a kind of rpw. Nothing may have been written.
local function fail(code, text) error({err = 'RPW ' .. code .. ' ' .. text}) end

local function text(n) return string.format('%.0f', n) end

-- clock returns the store's time in ms and in us.
local function clock()
  local t = call('TIME')
  local us = t[1] * 1000000 + t[2]
  return math.floor(us / 1000), us
end

-- less compares two decimal numbers of any size.
local function less(a, b) return #a < #b or #a == #b and a < b end

-- at is a place in the text form "epoch id count".
local function at(epoch, id, count) return epoch .. ' ' .. id .. ' ' .. text(count) end

-- recall finds the last answer of a lane. A call older than the last one comes too late: its caller has gone on.
local function recall(key, scope, seq)
  local value = call('GET', key)
  if not value then return nil end
  local s, n, answer = string.match(value, '^(%S+) (%d+) (.*)$')
  if s ~= scope or less(n, seq) then return nil end
  if n == seq then return answer end
  fail('conflict', 'call ' .. seq .. ' came after call ' .. n .. ' of the same sender was answered; send it again under a new number')
end

-- WINDOW is how long answers are remembered, in ms.
local WINDOW <const> = 120000

local function remember(key, scope, seq, answer)
  call('SET', key, scope .. ' ' .. seq .. ' ' .. answer, 'PX', WINDOW)
end
