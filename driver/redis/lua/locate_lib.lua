-- locate_lib: turns a start into a place, "epoch id count".

-- placeof is the place after an entry. One of others has no count.
local function placeof(st, entry) return at(st.epoch, entry[1], countof(entry) or 0) end

-- beforeid is the place before the first event with an id of at least this.
local function beforeid(st, id)
  local prev = call('XREVRANGE', st.main, '(' .. id, '-', 'COUNT', 1)[1]
  if prev then return placeof(st, prev) end
  return oldest(st)
end

-- locate knows the kinds newest, oldest, since (a time in ms), after (an id) and last (a number).
local function locate(st, kind, value)
  if kind == 'newest' then return ending(st) end
  if kind == 'oldest' then return oldest(st) end
  if kind == 'since' then
    if (split(st.last)) < tonumber(value) then return ending(st) end
    return beforeid(st, value .. '-0')
  end
  if kind == 'after' then
    if value == '0-0' then return oldest(st) end
    if before(value, st.trimmed) then return at(st.epoch, value, 0) end
    if not before(value, st.last) then return ending(st) end
    local entry = call('XREVRANGE', st.main, value, '-', 'COUNT', 1)[1]
    if entry then return placeof(st, entry) end
    return oldest(st)
  end
  local n = tonumber(value)
  if n >= st.length then return oldest(st) end
  local from = '+'
  while true do -- in steps, since entries come with their payloads
    local step = math.min(n, 50)
    local page = call('XREVRANGE', st.main, from, '-', 'COUNT', step + 1)
    n = n - step
    if n == 0 then return placeof(st, page[step + 1]) end
    from = '(' .. page[step][1]
  end
end
