#!lua
-- Enqueue: several calls, each all or none. A full server refuses the script whole.
-- ARGV from 4: for each call the number of its actions, then for each its options and its spec, packed.
-- Answer: whether the queue is new; then for each action what became of it (NEW ...) and the id it stands for.

local NEW <const> = 0
local EXISTS <const> = 1
local ID_TAKEN <const> = 2
local KEY_TAKEN <const> = 3
local KEY_RUNS <const> = 4

local JOIN <const> = 0
local REJECT <const> = 1
local REPLACE <const> = 2

-- Fields of the options.
local O_ID <const> = 1
local O_KEY <const> = 2
local O_POLICY <const> = 3
local O_DELAY <const> = 4
local O_RUN_AT <const> = 5
local O_WITHIN <const> = 6
local O_MAX <const> = 7
local O_GRACE <const> = 8
local O_KEEP <const> = 9 -- of each outcome: 9, 10, 11
local O_DATA <const> = 12

if advance() then
  save()
  return 'behind'
end

local calls, wanted, wanted_keys = {}, {}, {}
do
  local i = 4
  while ARGV[i] do
    local items = {}
    for j = 1, tonumber(ARGV[i]) do
      local o = cmsgpack.unpack(ARGV[i + 2 * j - 1])
      items[j] = {o, ARGV[i + 2 * j]}
      wanted[#wanted + 1] = o[O_ID]
      if o[O_KEY] ~= '' and keys[o[O_KEY]] == nil then wanted_keys[#wanted_keys + 1] = o[O_KEY] end
    end
    calls[#calls + 1] = items
    i = i + 2 * #items + 1
  end
end
load(wanted)
local specs = {} -- to be stored beside the records

if #wanted_keys > 0 then
  local holders = {}
  for i, id in ipairs(each('HMGET', UNIQUE, wanted_keys)) do
    if id then
      keys[wanted_keys[i]] = id
      holders[#holders + 1] = id
    end
  end
  load(holders)
end

-- set_spec keeps a small spec within the record.
local function set_spec(r, id, spec)
  if #spec <= INLINE then
    r[SPEC] = spec
  else
    r[SPEC] = ''
    specs[#specs + 1] = id
    specs[#specs + 1] = spec
  end
end

-- run_time is when an action is due. A time in the past is now, so nobody overtakes who waits already.
local function run_time(o)
  if o[O_RUN_AT] > now then return o[O_RUN_AT] end
  return now + o[O_DELAY]
end

local function add(id, o, spec)
  local created, within, data = math.max(queue[LAST_CREATED] + 1, now), o[O_WITHIN], o[O_DATA]
  queue[LAST_CREATED] = created
  local r = {created, run_time(o), 0, 0, 0, 0, 0, within > 0 and now + within or 0, within, 0, 0, o[O_GRACE], o[O_KEEP], o[O_KEEP + 1], o[O_KEEP + 2],
    0, 0, o[O_MAX], 0, PENDING, 0, data ~= '' and 1 or 0, 0, 0, 0, '', o[O_KEY], '', 1, 0, '', ''}
  records[id], ids[r] = r, id
  set_spec(r, id, spec)
  queue[COUNT + PENDING] = queue[COUNT + PENDING] + 1
  if o[O_KEY] ~= '' then keys[o[O_KEY]] = id end
  if data == '' then
    note(r, 'request', now, '', r[RUN_AT])
  else
    set_log(id .. '/d', data)
    note(r, 'request', now, '', r[RUN_AT], '', '', 0, '', data)
  end
end

-- reschedule gives the holder of a unique key the time of an item, and with REPLACE all the rest of it but the id.
local function reschedule(r, o, spec)
  r[RUN_AT] = run_time(o)
  if o[O_POLICY] == REPLACE then
    local id, within, data = ids[r], o[O_WITHIN], o[O_DATA]
    if data ~= '' then
      set_log(id .. '/d', data)
    elseif r[HAS_DATA] == 1 then
      forget[#forget + 1] = id .. '/d'
    end
    r[HAS_DATA], r[ATTEMPT], r[PROGRESS], r[MAX_ATTEMPTS], r[GRACE] = data ~= '' and 1 or 0, 0, 0, o[O_MAX], o[O_GRACE]
    r[WITHIN], r[START_BY] = within, within > 0 and now + within or 0
    for i = 0, 2 do r[KEEP + COMPLETED + i] = o[O_KEEP + i] end
    set_spec(r, id, spec)
  end
  note(r, 'rescheduled', now, '', r[RUN_AT])
end

-- is_same compares names and arguments.
local function is_same(a, b)
  if a == b then return true end
  a, b = cmsgpack.unpack(a), cmsgpack.unpack(b)
  return a[1] == b[1] and a[2] == b[2]
end

local function spec_of(r)
  return r[SPEC] ~= '' and r[SPEC] or redis.call('HGET', SPECS, ids[r])
end

-- admit says what becomes of an item, and what must be done for it: nothing, add, or reschedule the holder of its key. new holds the items
-- of the call that are to be added, by id and by unique key.
local function admit(o, spec, new)
  local id, key = o[O_ID], o[O_KEY]
  local there = find(id)
  if there or new[id] then
    if not is_same(there and spec_of(there) or new[id], spec) then return ID_TAKEN, id end
    return EXISTS, id
  end
  local holder = false
  if key ~= '' then
    holder = keys[key] and find(keys[key]) and keys[key] or new['\n' .. key] -- no id begins with a line feed
  end
  if not holder then
    new[id] = spec
    if key ~= '' then new['\n' .. key] = id end
    return NEW, id, add
  end
  if o[O_POLICY] == JOIN then return EXISTS, holder end
  if o[O_POLICY] == REJECT then return KEY_TAKEN, holder end
  if records[holder] and records[holder][STATE] == RUNNING then return KEY_RUNS, holder end
  return EXISTS, holder, reschedule
end

local answer = {is_new and 1 or 0}
for _, items in ipairs(calls) do
  local new, steps, refused = {}, {}, false
  for i, item in ipairs(items) do
    local kind, id, step = admit(item[1], item[2], new)
    answer[#answer + 1] = kind
    answer[#answer + 1] = id
    steps[i] = {step, id}
    refused = refused or kind > EXISTS
  end
  if not refused then
    for i, item in ipairs(items) do
      local step, id = steps[i][1], steps[i][2]
      if step == add then
        add(id, item[1], item[2])
      elseif step then
        reschedule(records[id], item[1], item[2])
      end
    end
  end
end
store()
each('HSET', SPECS, specs)
save()
return answer
