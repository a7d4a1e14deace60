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

-- A session: name, what it says, when it was seen, when it goes offline, the number of the newest signal.
local NAME <const> = 1
local INFO <const> = 2
local SEEN <const> = 3
local OFFLINE_AT <const> = 4
local SEQ <const> = 5

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

if verb == 'beat' then
  local forgotten = redis.call('ZRANGE', OFFLINE, '-inf', now - tonumber(ARGV[8]), 'BYSCORE', 'LIMIT', 0, 16)
  for _, worker in ipairs(forgotten) do
    if worker ~= id then remove(worker) end
  end
  if not session then
    local over = redis.call('ZCARD', OFFLINE) - tonumber(ARGV[7]) + 1
    if over > 0 then -- the longest offline makes room
      for _, worker in ipairs(redis.call('ZRANGE', OFFLINE, 0, over - 1)) do remove(worker) end
    end
  elseif session[NAME] ~= ARGV[4] then
    redis.call('ZREM', INDEX, place(id, session[NAME]))
  end
  local seq = math.max(session and session[SEQ] or 0, handled) -- a session that had been dropped goes on counting
  session = {ARGV[4], ARGV[5], now, now + tonumber(ARGV[6]), seq}
  redis.call('HSET', SESSIONS, id, cmsgpack.pack(session))
  redis.call('ZADD', OFFLINE, session[OFFLINE_AT], id)
  redis.call('ZADD', INDEX, 0, place(id, session[NAME]))
end

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
