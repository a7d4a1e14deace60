#!lua flags=allow-oom
-- Tells a worker that something it runs is to be cancelled; without a session nobody listens.
-- KEYS: 1 sessions, 2 signals.
-- ARGV: 1 the id, 2 its channel, 3 how many signals are kept at most, then of each: queue, id of the action, token, reason, end of the grace.
-- A signal: its number, queue, id, token, reason, end of the grace.

local SEQ <const> = 5
local TOKEN <const> = 4
local UNTIL <const> = 6

local blob = redis.call('HGET', KEYS[1], ARGV[1])
if not blob then return 0 end
local session = cmsgpack.unpack(blob)
blob = redis.call('HGET', KEYS[2], ARGV[1])
local signals = blob and cmsgpack.unpack(blob) or {}

if #signals >= tonumber(ARGV[3]) then -- it does not handle them: only those that still matter stay
  local clock = redis.call('TIME')
  local now, left = clock[1] * 1000000 + clock[2], {}
  for _, signal in ipairs(signals) do
    if signal[UNTIL] >= now then left[#left + 1] = signal end
  end
  signals = left
end

local function is_there(token, queue)
  for _, signal in ipairs(signals) do
    if signal[TOKEN] == token and signal[2] == queue then return true end
  end
  return false
end

local told = 0
for i = 4, #ARGV, 5 do
  local token = tonumber(ARGV[i + 2])
  if not is_there(token, ARGV[i]) then
    session[SEQ] = session[SEQ] + 1
    signals[#signals + 1] = {session[SEQ], ARGV[i], ARGV[i + 1], token, ARGV[i + 3], tonumber(ARGV[i + 4])}
    told = told + 1
  end
end
if told > 0 then
  redis.call('HSET', KEYS[2], ARGV[1], cmsgpack.pack(signals))
  redis.call('HSET', KEYS[1], ARGV[1], cmsgpack.pack(session))
  redis.call('PUBLISH', ARGV[2], '')
end
return told
