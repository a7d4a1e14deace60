#!lua flags=allow-oom
-- Heartbeat: registers a worker or renews it, and answers the signals to it.
-- KEYS: 1 the index by name and id, 2 sessions, 3 when each goes offline, 4 signals.
-- ARGV: 1 the id, 2 the number up to which signals are handled, 3 what to do: "beat", "look" or "leave"; for beat: 4 the name, 5 what the worker
-- says of itself, 6 its TTL in µs, 7 how many workers are registered at most, 8 how long one that is offline is shown.
-- Answer: whether the session is there, then the signals.

local INDEX, SESSIONS, OFFLINE, SIGNALS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, handled, verb = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- A session: name, what it says, when it was seen, when it goes offline, the number of the newest signal, up to which it has handled them, its time in OFFLINE.
local NAME <const> = 1
local INFO <const> = 2
local SEEN <const> = 3
local OFFLINE_AT <const> = 4
local SEQ <const> = 5
local HANDLED <const> = 6
local LISTED <const> = 7

local MINUTE <const> = 60000000

local function read(worker)
  local blob = redis.call('HGET', SESSIONS, worker)
  return blob and cmsgpack.unpack(blob)
end

local function place(worker, name) return name .. '\n' .. worker end

local function remove(worker)
  local session = read(worker)
  if session then redis.call('ZREM', INDEX, place(worker, session[NAME])) end
  redis.call('HDEL', SESSIONS, worker)
  redis.call('ZREM', OFFLINE, worker)
  redis.call('HDEL', SIGNALS, worker)
end

if verb == 'leave' then
  remove(id)
  return {0}
end

local session = read(id)
if verb == 'look' and not session then return {0} end

local listens = session and session[SEQ] > session[HANDLED] -- there may be signals

if verb == 'beat' then
  local worker, ends, listed = ARGV[4], now + tonumber(ARGV[6]), session and session[LISTED] or 0
  if not session then
    for _, gone in ipairs(redis.call('ZRANGE', OFFLINE, '-inf', now - tonumber(ARGV[8]), 'BYSCORE', 'LIMIT', 0, 16)) do remove(gone) end
    local over = redis.call('ZCARD', OFFLINE) - tonumber(ARGV[7]) + 1
    if over > 0 then -- the longest offline makes room
      for _, gone in ipairs(redis.call('ZRANGE', OFFLINE, 0, over - 1)) do remove(gone) end
    end
  end
  if not session or session[NAME] ~= worker then
    if session then redis.call('ZREM', INDEX, place(id, session[NAME])) end
    redis.call('ZADD', INDEX, 0, place(id, worker))
  end
  if ends > listed then -- OFFLINE may be late by a minute, so that few beats change it
    listed = ends + MINUTE
    redis.call('ZADD', OFFLINE, listed, id)
  end
  local seq = math.max(session and session[SEQ] or 0, handled) -- a session that had been dropped goes on counting
  redis.call('HSET', SESSIONS, id, cmsgpack.pack({worker, ARGV[5], now, ends, seq, handled, listed}))
end

if not listens then return {1} end
local blob = redis.call('HGET', SIGNALS, id)
if not blob then return {1} end
local answer, left = {1}, {}
for _, signal in ipairs(cmsgpack.unpack(blob)) do
  if signal[1] > handled then
    left[#left + 1] = signal
    answer[#answer + 1] = cmsgpack.pack(signal)
  end
end
if #left == 0 then
  redis.call('HDEL', SIGNALS, id)
elseif verb == 'beat' then
  redis.call('HSET', SIGNALS, id, cmsgpack.pack(left))
end
return answer
