-- What most runs of all verbs need, see prelude_actions.lua.

local is_new = not queue
local seat = is_new and '' or queue:sub(QUEUE_SIZE + 1)
queue = is_new and {now, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} or {struct.unpack(QUEUE_FORMAT, queue)}
local ready_before, next_before = queue[READY_COUNT], queue[NEXT]

local blobs = {}             -- by id: records as they are stored; false: there is none
local records = {}           -- by id: those that were decoded
local changed, is_over = {}, {} -- ids that watchers want to hear of, if there are any, and whether this was the end
local is_unmarked = is_new  -- INDEX and RUN lack their marks
local is_watched = queue[WATCHED_UNTIL] >= now
local dirty = false          -- the queue itself changed
local made                   -- the functions of records_actions.lua that others call; nil: none was needed yet
local careful                -- gives them

-- each calls a command with any number of arguments, an even number at a time.
local function each(command, key, args)
  local n = #args
  if n == 0 then return {} end
  if n <= 4000 then return redis.call(command, key, unpack(args)) end
  local all = {}
  for i = 1, n, 4000 do
    local answer = redis.call(command, key, unpack(args, i, math.min(i + 3999, n)))
    if type(answer) == 'table' then
      for _, value in ipairs(answer) do all[#all + 1] = value end
    end
  end
  return all
end

-- load reads the records of ids, as far as they have not been read.
local function load(list)
  local wanted = {}
  for _, id in ipairs(list) do
    if blobs[id] == nil then
      blobs[id] = false
      wanted[#wanted + 1] = id
    end
  end
  for i, blob in ipairs(each('HMGET', RECORDS, wanted)) do blobs[wanted[i]] = blob end
end

-- kept_until is the end of the retention of a record that is in a terminal state since a time; nil: none.
local function kept_until(state, finished, keep)
  if keep < 0 then return nil end
  if keep == 0 then keep = state == FAILED and 7 * DAY or DAY end
  return finished + keep
end

local function sooner(field, at)
  if queue[field] == 0 or at < queue[field] then queue[field] = at end
end

-- text is a time as commands take it; a number that is given to several is written out once.
local function text(at) return string.format('%.0f', at) end

-- join adds the ids of records to a set, in bundles of this size. Without a score it is that of INDEX.
local function join(set, score, list, size)
  local args = {}
  for from = 1, #list, size do
    local stamp, n = blobs[list[from]]:sub(1, 8), #args
    args[n + 1], args[n + 2] = score or text((struct.unpack('>I8', stamp))), stamp .. table.concat(list, '\0', from, math.min(from + size - 1, #list))
  end
  each('ZADD', set, args)
end

-- advance brings the queue up to now, a slice at a time; true if it is not there yet. Then the verb saves, does nothing, and the
-- caller runs it again.
local function advance(thorough)
  if not PEEKS and (seat:byte(1) == RESTORING or is_new and redis.call('EXISTS', RECORDS) == 1) and (made or careful()).restore() then return true end
  local next, retire = queue[NEXT], queue[RETIRE]
  if now >= queue[NOW] and (next == 0 or next > now) and (retire == 0 or retire > now) then return false end
  return (made or careful()).catch_up(thorough)
end

-- tell wakes those who watch what changed.
local function tell()
  local told, over = {}, {}
  for i, watched in ipairs(each('SMISMEMBER', WATCHED, changed)) do
    local id = changed[i]
    if watched == 1 and not told[id] then
      told[id] = true
      redis.call('PUBLISH', ARGV[2] .. id, '')
      if is_over[id] then over[#over + 1] = id end
    end
  end
  each('SREM', WATCHED, over)
end

-- save writes everything, and wakes who waits: claimers hear of the queue when something became ready where nothing was, or when they must
-- look earlier. The text is what they need to know: how many are ready, and in how many µs to look; -1: not at all.
local function save()
  if made then made.store() end
  if is_watched and #changed > 0 then
    tell()
    changed = {}
  end
  if not dirty then return end
  dirty = false
  queue[NOW] = now
  local total = queue[PAUSED]
  for state = PENDING, CANCELLED do total = total + queue[COUNT + state] end
  if total == 0 and seat:byte(1) ~= RESTORING then
    redis.call('DEL', QUEUE, INDEX, RUN)
  else
    if is_unmarked then
      redis.call('ZADD', INDEX, '+inf', MARK)
      redis.call('ZADD', RUN, '+inf', MARK)
      is_unmarked = false
    end
    redis.call('SET', QUEUE, struct.pack(QUEUE_FORMAT, unpack(queue, 1, WATCHED_UNTIL)) .. seat)
  end
  local ready, at = queue[READY_COUNT], queue[NEXT]
  if queue[PAUSED] == 0 and ready > 0 and ready_before == 0 or at > 0 and (next_before == 0 or at < next_before) then
    if queue[PAUSED] == 1 then ready = 0 end
    redis.call('PUBLISH', ARGV[1], string.format('%d %.0f', ready, at > 0 and math.max(0, at - now) or -1))
  end
  ready_before, next_before = ready, at
end

-- wait_for is how long until a time, for one who waits; -1: for ever.
local function wait_for(at) return at > 0 and math.max(0, at - now) or -1 end
