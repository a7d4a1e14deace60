-- Answers to calls that are repeated: LANE holds the number of the newest call of a lane that did something, and its answer.

local LANE_TTL <const> = 120000 -- ms

-- recall returns the answer to a call that is repeated, nil if it is none; a call that comes after a later one of its lane was answered
-- is refused: the second value.
local function recall()
  if ARGV[3] == '' then return nil end
  local blob = redis.call('GET', LANE)
  if not blob then return nil end
  local last = cmsgpack.unpack(blob)
  local seq = tonumber(ARGV[3])
  if seq > last[1] then return nil end
  if seq < last[1] then
    return nil, redis.error_reply('RPW conflict call ' .. ARGV[3] .. ' came after call ' .. string.format('%.0f', last[1]) ..
      ' of the same sender was answered; send it again under a new number')
  end
  return last[2]
end

-- remember keeps the answer of the call for a repeat.
local function remember(answer)
  if ARGV[3] ~= '' then
    redis.call('SET', LANE, cmsgpack.pack({tonumber(ARGV[3]), answer}), 'PX', LANE_TTL)
  end
end
