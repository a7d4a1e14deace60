#!lua flags=allow-oom
-- Claim: leases what is ready.
-- ARGV: 4 the worker, 5 how many at most, 6 the lease, 7 the lane, or "", 8 the channel to tell it on if it waits, or "". 0 at most only looks; -1 withdraws
-- a claim that waited: it has no seat any more, and was given nothing. 9 how many bytes at most, but always one action.
-- Answer: how many are ready still, in how many µs to look again (-1: not at all), whether this is the answer to a call that
-- was answered before, then the actions, see describe.

local WARM <const> = 2000000 -- how long a claim counts as awake after it has looked
local SPECS_FIRST <const> = 8 -- how many specs are read at once: each may be as large as a payload
local SPECS_NEXT <const> = 64 -- if the first leave room

if advance() then
  save()
  return 'behind'
end
if made then made.store() end
local worker, most, lease, lane, channel = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], ARGV[8]
local fits = #worker < 256 -- within a PLAIN record: that is a name, but not always one behind a namespace

-- choose says what a claim may have: members of READY, their ids and specs; nil: the queue is being restored. A server that may drop keys can have lost a part of an action: that holds up
-- nothing, and the rest of it goes.
local function choose()
  local standing, waiting, lost = redis.call('ZRANGE', READY, 0, most - 1), {}, {}
  if #standing < math.min(most, queue[READY_COUNT]) then
    if careful().restore() then return nil end
    standing = redis.call('ZRANGE', READY, 0, most - 1)
  end
  for i, member in ipairs(standing) do waiting[i] = member:sub(9) end -- without the time of its creation, see handle
  load(waiting)
  local members, list, specs, left = {}, {}, {}, tonumber(ARGV[9])
  local from, to = 1, math.min(SPECS_FIRST, #waiting)
  while from <= to do
    local some = redis.call('HMGET', SPECS, unpack(waiting, from, to))
    for i = from, to do
      local id, spec = waiting[i], some[i - from + 1]
      local blob = blobs[id]
      if not blob then
        lost[#lost + 1] = standing[i]
      elseif not spec then
        careful().remove(id)
      else
        left = left - #blob - #spec - (blob:byte(-1) == PLAIN and 0 or careful().weight(id))
        local n = #list
        if n > 0 and left < 0 then break end
        members[n + 1], list[n + 1], specs[n + 1] = standing[i], id, spec
      end
    end
    if left < 0 then break end
    from, to = to + 1, math.min(to + SPECS_NEXT, #waiting)
  end
  each('ZREM', READY, lost)
  queue[READY_COUNT], queue[COUNT + PENDING] = queue[READY_COUNT] - #lost, queue[COUNT + PENDING] - #lost
  return members, list, specs
end

-- claim leases the records that stand in READY as members.
local function claim(members, list)
  local tokens, hset, plain, run = {}, {}, {}, {}
  local token, ends = math.max(queue[LAST_TOKEN], now - 1), text(now + lease)
  for i, id in ipairs(list) do
    token = token + 1
    tokens[i] = token
    local blob = blobs[id]
    if fits and not records[id] and blob:byte(-1) == PLAIN then
      blob = blob .. worker .. struct.pack(LEASE_FORMAT, token, now, lease, struct.unpack('>i8', blob, KEEP_COMPLETED_AT), #worker, LEASED)
      local n = #run
      blobs[id], hset[n + 1], hset[n + 2], run[n + 1], run[n + 2] = blob, id, blob, ends, id
      plain[#plain + 1] = members[i]
      changed[#changed + 1], is_over[id] = id, false
    else
      careful().lease(id, now, worker, lease, token)
    end
  end
  queue[LAST_TOKEN], dirty = token, true
  if #plain > 0 then
    each('HSET', RECORDS, hset)
    each('ZREM', READY, plain)
    each('ZADD', RUN, run)
    sooner(NEXT, now + lease)
    queue[READY_COUNT] = queue[READY_COUNT] - #plain
    queue[COUNT + PENDING], queue[COUNT + RUNNING] = queue[COUNT + PENDING] - #plain, queue[COUNT + RUNNING] + #plain
  end
  return tokens
end

local last, refused = recall()
if refused then return refused end
local given -- at the seat
local free = 0 -- since when somebody else may have it
if seat ~= '' then
  local ends, seq, token, of, is_waiting, id = struct.unpack(SEAT_FORMAT, seat)
  if of == lane then
    if not last and is_waiting == '' and seq == tonumber(ARGV[3]) then given = {{id}, {token}} end
    seat, dirty = '', true
  else
    free = ends
  end
end
if most < 0 then
  if given then careful().give_back(given[1][1], given[2][1]) end
  if not last then remember({{}, {}}) end
  save()
  return {0, -1, 0}
end
if given then
  last = given
  remember(last)
end
local taken, specs = {}, nil
if last then
  taken = careful().held(last[1], last[2])
elseif most > 0 and queue[PAUSED] == 0 and queue[READY_COUNT] > 0 then
  local members
  members, taken, specs = choose()
  if not members then
    save()
    return 'behind'
  end
  remember({taken, claim(members, taken)})
elseif channel ~= '' and fits and most > 0 and queue[PAUSED] == 0 and free <= now and not is_new then
  seat, dirty = struct.pack(SEAT_FORMAT, now + WARM, tonumber(ARGV[3]), lease, lane, channel, worker), true
end
save()
local answer = {queue[PAUSED] == 1 and 0 or queue[READY_COUNT], wait_for(queue[NEXT]), last and 1 or 0}
return #taken > 0 and describe(answer, taken, false, specs) or answer
