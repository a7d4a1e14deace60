#!lua flags=allow-oom
-- Claim: leases what is ready.
-- ARGV: 4 the worker, 5 how many at most, 6 the lease, 7 the lane, or "", 8 the channel to tell it on if it waits, or "". 0 at most only looks; -1 withdraws
-- a claim that waited: it has no seat any more, and was given nothing. 9 how many bytes at most, but always one action.
-- Answer: how many are ready still, in how many µs to look again (-1: not at all), whether this is the answer to a call that
-- was answered before, then the actions, see describe.

local WARM <const> = 2000000 -- how long a claim counts as awake after it has looked

if advance() then
  save()
  return 'behind'
end
if made then made.store() end
local worker, most, lease, lane, channel = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], ARGV[8]
local fits = #worker < 256 -- within a PLAIN record: that is a name, but not always one behind a namespace

-- choose says what a claim may have: ids, their specs, and what they are taken from, with what of it is to be taken out in any case; nil: the queue is being restored. A server
-- that may drop keys can have lost a part of an action: that holds up nothing, and the rest of it goes.
local function choose()
  local waiting, members = first(READY, '+inf', most)
  if #waiting < math.min(most, queue[READY_COUNT]) then
    if careful().restore() then return nil end
    waiting, members = first(READY, '+inf', most)
  end
  load(waiting)
  local list, specs, leaving, lost, left = {}, {}, {}, 0, tonumber(ARGV[9])
  for _, id in ipairs(waiting) do
    local blob = blobs[id]
    local spec = blob and spec_of(blob)
    if not blob then
      leaving[id], lost = now, lost + 1
    elseif not spec then
      careful().remove(id)
    else
      left = left - #blob - #spec - (blob:byte(-1) == PLAIN and 0 or careful().weight(id))
      local n = #list
      if n > 0 and left < 0 then break end
      list[n + 1], specs[n + 1] = id, spec
    end
  end
  queue[READY_COUNT], queue[COUNT + PENDING] = queue[READY_COUNT] - lost, queue[COUNT + PENDING] - lost
  return list, specs, members, leaving
end

-- claim leases what was chosen, with tokens that follow each other, and tells it as the answer to its call is kept: the ids and the first token.
local function claim(list, members, leaving)
  local hset, plain = {}, {}
  local token = math.max(queue[LAST_TOKEN], now - 1)
  local span, by = struct.pack('>I8I5', now, lease), fits and string.char(#worker) .. worker .. string.char(LEASED)
  for _, id in ipairs(list) do
    token = token + 1
    local blob = blobs[id]
    if fits and not records[id] and blob:byte(-1) == PLAIN then
      blob = blob .. span .. struct.pack('>I8', token) .. by
      local n = #hset
      blobs[id], hset[n + 1], hset[n + 2] = blob, id, blob
      plain[#plain + 1], leaving[id] = id, now
      if is_watched then changed[#changed + 1], is_over[id] = id, false end
    else
      careful().lease(id, now, worker, lease, token)
    end
  end
  queue[LAST_TOKEN], dirty = token, true
  shrink(READY, members, leaving)
  if #plain > 0 then
    each('HSET', RECORDS, hset)
    join(RUN, text(now + lease), plain, BUNDLE)
    sooner(NEXT, now + lease)
    queue[READY_COUNT] = queue[READY_COUNT] - #plain
    queue[COUNT + PENDING], queue[COUNT + RUNNING] = queue[COUNT + PENDING] - #plain, queue[COUNT + RUNNING] + #plain
  end
  return {table.concat(list, '\0'), token - #list + 1}
end

local last, refused = recall()
if refused then return refused end
local given -- at the seat
local free = 0 -- since when somebody else may have it
if seat ~= '' then
  local ends, seq, token, of, is_waiting, id = struct.unpack(SEAT_FORMAT, seat)
  if of == lane then
    if not last and is_waiting == '' and seq == tonumber(ARGV[3]) then given = {id, token} end
    seat, dirty = '', true
  else
    free = ends
  end
end
if most < 0 then
  if given then careful().give_back(given[1], given[2]) end
  if not last then remember({'', 0}) end
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
  local members, leaving
  taken, specs, members, leaving = choose()
  if not taken then
    save()
    return 'behind'
  end
  remember(claim(taken, members, leaving))
elseif channel ~= '' and fits and most > 0 and queue[PAUSED] == 0 and free <= now and not is_new then
  seat, dirty = struct.pack(SEAT_FORMAT, now + WARM, tonumber(ARGV[3]), lease, lane, channel, worker), true
end
save()
local answer = {queue[PAUSED] == 1 and 0 or queue[READY_COUNT], wait_for(queue[NEXT]), last and 1 or 0}
return #taken > 0 and describe(answer, taken, false, specs) or answer
