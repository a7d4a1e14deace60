#!lua
-- Enqueue: several calls, each all or none. A full server refuses the script whole.
-- ARGV from 4: for each call the number of its actions, then for each its options and its spec, packed.
-- Answer: whether the queue is new; then for each action what became of it (NEW ...) and the id it stands for.

local NEW, EXISTS, ID_TAKEN, KEY_TAKEN, KEY_RUNS = 0, 1, 2, 3, 4
local JOIN, REJECT, REPLACE = 0, 1, 2

-- Fields of the options.
local O_ID, O_KEY, O_POLICY, O_DELAY, O_RUN_AT, O_WITHIN, O_MAX, O_GRACE, O_KEEP, O_DATA = 1, 2, 3, 4, 5, 6, 7, 8, 9, 12

local calls, wanted = {}, {}
do
  local i = 4
  while ARGV[i] do
    local items = {}
    for j = 1, tonumber(ARGV[i]) do
      local o = cmsgpack.unpack(ARGV[i + 2 * j - 1])
      items[j] = {o = o, spec = ARGV[i + 2 * j]}
      wanted[#wanted + 1] = o[O_ID]
    end
    calls[#calls + 1] = items
    i = i + 2 * #items + 1
  end
end

if advance() then
  save()
  return 'behind'
end
load(wanted)

-- Who has the unique keys.
do
  local list, holders = {}, {}
  for _, items in ipairs(calls) do
    for _, item in ipairs(items) do
      local key = item.o[O_KEY]
      if key ~= '' and keys[key] == nil then list[#list + 1] = key end
    end
  end
  for i, id in ipairs(each('HMGET', UNIQUE, list) or {}) do
    if keys[list[i]] == nil and id then
      keys[list[i]] = id
      holders[#holders + 1] = id
    end
  end
  load(holders)
end

-- run_time is when an action is due. A time in the past is now, so nobody overtakes who waits already.
local function run_time(o)
  if o[O_RUN_AT] > now then return o[O_RUN_AT] end
  return now + o[O_DELAY]
end

local function describe_by(r, o)
  r[MAX_ATTEMPTS], r[RUN_AT], r[WITHIN], r[GRACE] = o[O_MAX], run_time(o), o[O_WITHIN], o[O_GRACE]
  r[START_BY] = o[O_WITHIN] > 0 and now + o[O_WITHIN] or 0
  for i = 0, 2 do r[KEEP + COMPLETED + i] = o[O_KEEP + i] end
  r[HAS_DATA] = o[O_DATA] ~= '' and 1 or 0
end

local function new_record(o)
  local r = {queue[LAST_N] + 1, math.max(queue[LAST_CREATED], now), PENDING, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', 0, 0, 0, 0, 0, 0,
    o[O_KEY], 0, '', 0, 0, 0, 0, 0, 0, 0}
  queue[LAST_N], queue[LAST_CREATED] = r[N], r[CREATED]
  describe_by(r, o)
  return r
end

local function move(r, run_at)
  r[RUN_AT] = run_at
  note(r, 'rescheduled', now, '', run_at)
end

local function is_same(id, spec)
  local there = specs[records[id]] or redis.call('HGET', SPECS, id)
  if there == spec then return true end
  there, spec = cmsgpack.unpack(there), cmsgpack.unpack(spec)
  return there[1] == spec[1] and there[2] == spec[2] -- name and argument
end

-- admit says what becomes of an item, and does it later: the second value.
local function admit(item, fresh)
  local o = item.o
  local id, key = o[O_ID], o[O_KEY]
  local there = find(id) or fresh.ids[id]
  if there then
    local spec = fresh.ids[id] and fresh.ids[id].spec
    if spec then
      local a, b = cmsgpack.unpack(spec), cmsgpack.unpack(item.spec)
      if a[1] ~= b[1] or a[2] ~= b[2] then return ID_TAKEN, id end
    elseif not is_same(id, item.spec) then
      return ID_TAKEN, id
    end
    return EXISTS, id
  end
  local holder = key ~= '' and (keys[key] and find(keys[key]) and keys[key] or fresh.keys[key])
  if not holder then
    fresh.ids[id] = item
    if key ~= '' then fresh.keys[key] = id end
    return NEW, id, function()
      add(id, new_record(o), item.spec, o[O_DATA])
    end
  end
  local r = records[holder]
  if o[O_POLICY] == JOIN then return EXISTS, holder end
  if o[O_POLICY] == REJECT then return KEY_TAKEN, holder end
  if r and r[STATE] == RUNNING then return KEY_RUNS, holder end
  return EXISTS, holder, function()
    local r = records[holder]
    if o[O_POLICY] == REPLACE then
      if o[O_DATA] ~= '' then
        set_log(holder .. '/d', o[O_DATA])
      elseif r[HAS_DATA] == 1 then
        forget[#forget + 1] = holder .. '/d'
      end
      describe_by(r, o)
      r[ATTEMPT], r[PROGRESS], specs[r] = 0, 0, item.spec
    end
    move(r, run_time(o))
  end
end

local answer = {is_new and 1 or 0}
for _, items in ipairs(calls) do
  local fresh, steps, refused = {ids = {}, keys = {}}, {}, false
  for _, item in ipairs(items) do
    local kind, id, step = admit(item, fresh)
    answer[#answer + 1] = kind
    answer[#answer + 1] = id
    steps[#steps + 1] = step
    refused = refused or kind > EXISTS
  end
  if not refused then
    for _, step in ipairs(steps) do step() end
  end
end
save()
return answer
