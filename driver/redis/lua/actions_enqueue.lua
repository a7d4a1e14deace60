#!lua
-- Enqueue: several calls, each all or none. A full server refuses the script whole.
-- ARGV: 4 how many lots, then these, as they are stored, with the specs of all actions in their order; then for each call the number of its actions, and for each its id, and its
-- options, packed, or its PLAIN record without what it begins with, up to run-at.
-- Answer: whether the queue is new; then, unless all are plain and new, for each action what became of it (NEW ...) and the id it stands for.

if advance() then
  save()
  return 'behind'
end

if made then made.store() end

local specs, plain, ready = {}, {}, {} -- to be stored
local now_bytes = struct.pack('>I8', now)

local function set_lot(name, lot)
  local n = #specs
  specs[n + 1], specs[n + 2] = name, lot
end

local function next_created()
  local created = math.max(queue[LAST_CREATED] + 1, now)
  queue[LAST_CREATED] = created
  queue[COUNT + PENDING] = queue[COUNT + PENDING] + 1
  return created
end

-- add_plain adds a plain action, whose spec has a place in the lot of this name; nil: it begins a lot.
local function add_plain(id, record, lot, place)
  local stamp, n = struct.pack('>I8', next_created()), #plain
  local blob = stamp .. (lot or stamp) .. string.char(place) .. now_bytes .. record
  blobs[id], records[id] = blob, nil
  plain[n + 1], plain[n + 2] = id, blob
  ready[#ready + 1] = id
  return lot or stamp
end

local begin = 4 + ARGV[4] -- the last argument before the calls

-- all_plain says whether all actions are plain, and none is there.
local function all_plain()
  local list, last = {}, begin
  while ARGV[last + 1] do
    local first = last + 2
    last = last + 1 + 2 * ARGV[last + 1]
    for i = first, last, 2 do
      if ARGV[i + 1]:byte(1) > 127 then return false end -- the beginning of an array; a PLAIN record begins with a small number
      list[#list + 1] = ARGV[i]
    end
  end
  local is_new = true
  for i, blob in ipairs(each('HMGET', RECORDS, list)) do
    local id = list[i]
    is_new = is_new and not blob and blobs[id] == nil
    blobs[id] = blob
  end
  return is_new
end

local answer
local is_plain = all_plain()
if is_plain then
  answer = {is_new and 1 or 0}
  local last, at, place, size, lot = begin, 4, 0, 0, nil
  while ARGV[last + 1] do
    local first = last + 2
    last = last + 1 + 2 * ARGV[last + 1]
    for i = first, last, 2 do
      if place == size then
        at, place, lot = at + 1, 0, nil
        size = ARGV[at]:byte(1)
      end
      place = place + 1
      lot = add_plain(ARGV[i], ARGV[i + 1], lot, place)
      if place == 1 then set_lot(lot, ARGV[at]) end
    end
  end
else
  answer = careful().enqueue(begin, add_plain, set_lot, next_created)
end
if made then made.store() end
each('HSET', SPECS, specs)
if #plain > 0 then
  each('HSET', RECORDS, plain)
  local size = is_plain and BUNDLE or 1 -- else others were created between them
  join(INDEX, nil, ready, size)
  join(READY, text(now), ready, size)
  queue[READY_COUNT], dirty = queue[READY_COUNT] + #ready, true
end
save()
return answer
