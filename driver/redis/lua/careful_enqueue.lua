
local NEW <const> = 0
local EXISTS <const> = 1
local ID_TAKEN <const> = 2
local KEY_TAKEN <const> = 3
local KEY_RUNS <const> = 4

local JOIN <const> = 0
local REJECT <const> = 1
local REPLACE <const> = 2

-- Fields of the options.
local O_KEY <const> = 1
local O_POLICY <const> = 2
local O_DELAY <const> = 3
local O_RUN_AT <const> = 4
local O_WITHIN <const> = 5
local O_MAX <const> = 6
local O_GRACE <const> = 7
local O_KEEP <const> = 8 -- of each outcome: 8, 9, 10
local O_DATA <const> = 11

-- Fields of an item. One without options is PLAIN: its record, but for two times, comes with it.
local I_ID <const> = 1
local I_SPEC <const> = 2
local I_OPTIONS <const> = 3
local I_RECORD <const> = 4

-- run_time is when an action is due. A time in the past is now, so nobody overtakes who waits already.
local function run_time(o)
  if o[O_RUN_AT] > now then return o[O_RUN_AT] end
  return now + o[O_DELAY]
end

local add_plain, set_lot, next_created -- of actions_enqueue.lua
local stored = {} -- by id: specs that this script has stored

-- alone stores a spec in a lot of its own.
local function alone(name, spec) set_lot(name, struct.pack('>BI4I4', 1, ALONE_AT, ALONE_AT + #spec) .. spec) end

-- renew_spec gives a record a spec in place of one that is lost, and a time that nothing was created at for the name of its lot.
local function renew_spec(r, spec)
  queue[LAST_CREATED] = math.max(queue[LAST_CREATED] + 1, now)
  r[LOT], r[PLACE], stored[ids[r]] = queue[LAST_CREATED], 1, spec
  touch(r)
  alone(struct.pack('>I8', r[LOT]), spec)
end

local function add(item)
  local id, o = item[I_ID], item[I_OPTIONS]
  if not o then return alone(add_plain(id, item[I_RECORD], nil, 1), item[I_SPEC]) end
  local within, data = o[O_WITHIN], o[O_DATA]
  local created = next_created()
  local r = {created, created, 1, run_time(o), 0, 0, 0, 0, 0, within > 0 and now + within or 0, within, 0, 0, o[O_GRACE], o[O_KEEP], o[O_KEEP + 1], o[O_KEEP + 2],
    0, 0, o[O_MAX], 0, PENDING, 0, data ~= '' and 1 or 0, 0, 0, 0, '', o[O_KEY], '', 1, 0, ''}
  records[id], ids[r] = r, id
  alone(struct.pack('>I8', created), item[I_SPEC])
  if o[O_KEY] ~= '' then keys[o[O_KEY]] = id end
  if data == '' then
    note(r, 'request', now, '', r[RUN_AT])
  else
    log[id .. '/d'] = data
    note(r, 'request', now, '', r[RUN_AT], '', '', 0, '', data)
  end
end

-- reschedule gives the holder of a unique key the time of an item, and with REPLACE all the rest of it but the id.
local function reschedule(r, item)
  local o = item[I_OPTIONS]
  r[RUN_AT] = run_time(o)
  if o[O_POLICY] == REPLACE then
    local id, within, data = ids[r], o[O_WITHIN], o[O_DATA]
    if data ~= '' or r[HAS_DATA] == 1 then log[id .. '/d'] = data ~= '' and data end
    r[HAS_DATA], r[ATTEMPT], r[PROGRESS], r[MAX_ATTEMPTS], r[GRACE] = data ~= '' and 1 or 0, 0, 0, o[O_MAX], o[O_GRACE]
    r[WITHIN], r[START_BY] = within, within > 0 and now + within or 0
    for i = 0, 2 do r[KEEP + COMPLETED + i] = o[O_KEEP + i] end
    alone(struct.pack('>I8', r[LOT]), item[I_SPEC]) -- as it was before, since it is not plain
  end
  note(r, 'rescheduled', now, '', r[RUN_AT])
end

-- is_same compares names and arguments.
local function is_same(a, b)
  if a == b then return true end
  a, b = cmsgpack.unpack(a), cmsgpack.unpack(b)
  return a[1] == b[1] and a[2] == b[2]
end

-- admit says what becomes of an item, and whether it is added, or the holder of its key is rescheduled. new holds the items of the call that
-- are to be added, by id and by unique key.
local function admit(item, new)
  local id, o = item[I_ID], item[I_OPTIONS]
  if new[id] or find(id) then
    local there = new[id] and new[id][I_SPEC] or stored[id] or spec_of(blobs[id])
    if not there then -- lost by a server that may drop keys
      there = item[I_SPEC]
      renew_spec(records[id], there)
    end
    return is_same(there, item[I_SPEC]) and EXISTS or ID_TAKEN, id
  end
  local key, holder = o and o[O_KEY] or '', false
  if key ~= '' then
    holder = keys[key] and find(keys[key]) and keys[key] or new['\n' .. key] -- no id begins with a line feed
  end
  if not holder then
    new[id] = item
    if key ~= '' then new['\n' .. key] = id end
    return NEW, id, true
  end
  if o[O_POLICY] == JOIN then return EXISTS, holder end
  if o[O_POLICY] == REJECT then return KEY_TAKEN, holder end
  if records[holder] and records[holder][STATE] == RUNNING then return KEY_RUNS, holder end
  return EXISTS, holder, true
end

-- parse reads ARGV, and the records and holders of unique keys that it names.
local function parse(begin)
  local calls, specs, wanted, wanted_keys = {}, {}, {}, {}
  for at = 5, begin do
    local lot, from = ARGV[at], begins(ARGV[at])
    for i = 1, lot:byte(1) do specs[#specs + 1] = lot:sub(from[i], from[i + 1] - 1) end
  end
  do
    local i = begin + 1
    while ARGV[i] do
      local items, count = {}, tonumber(ARGV[i])
      i = i + 1
      for j = 1, count do
        local id, how, options = ARGV[i], ARGV[i + 1], nil
        if how:byte(1) > 127 then -- the beginning of an array; a PLAIN record begins with a small number
          options = cmsgpack.unpack(how)
          local key = options[O_KEY]
          if key ~= '' and keys[key] == nil then wanted_keys[#wanted_keys + 1] = key end
        end
        wanted[#wanted + 1] = id
        items[j] = {id, specs[#wanted], options, how}
        i = i + 2
      end
      calls[#calls + 1] = items
    end
  end
  load(wanted)

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
  return calls
end

-- enqueue is the verb, where not all of its actions are plain and new.
function made.enqueue(begin, ...)
  add_plain, set_lot, next_created = ...
  local answer = {is_new and 1 or 0}
  for _, items in ipairs(parse(begin)) do
    local new, kinds, steps, refused = {}, {}, {}, false
    for i, item in ipairs(items) do
      local kind, id, step = admit(item, new)
      answer[#answer + 1] = kind
      answer[#answer + 1] = id
      kinds[i], steps[i] = kind, step and id
      refused = refused or kind > EXISTS
    end
    if not refused then
      for i, item in ipairs(items) do
        if kinds[i] == NEW then
          add(item)
          stored[item[I_ID]] = item[I_SPEC]
        elseif steps[i] then
          reschedule(records[steps[i]], item)
          stored[steps[i]] = item[I_OPTIONS][O_POLICY] == REPLACE and item[I_SPEC] or stored[steps[i]]
        end
      end
    end
  end
  return answer
end
