
-- lease is what a claim does to a record that is not plain.
function made.lease(id, at, worker, lease, token)
  local r = record(id)
  enter(r, RUNNING)
  begin(r, at, worker, lease, token)
  note(r, 'claimed', at, worker)
end

-- weight is how many bytes are told of an action beside its record and spec.
function made.weight(id)
  local r = record(id)
  local fields, size = {r[HAS_DATA] == 1 and id .. '/d' or nil}, 0
  for n = math.max(1, r[FAILURES] - KEPT + 1), r[FAILURES] do fields[#fields + 1] = id .. '/f' .. n end
  for _, value in ipairs(each('HMGET', LOG, fields)) do size = size + #(value or '') end
  return size
end

function made.remove(id) remove(record(id)) end

-- held are those of claimed actions, of which the first token is told, whose leases still hold.
function made.held(text, token)
  local list, held = {}, {}
  for id in text:gmatch('%Z+') do list[#list + 1] = id end
  load(list)
  for i, id in ipairs(list) do
    local r = find(id)
    if r and r[STATE] == RUNNING and r[TOKEN] == token + i - 1 then held[#held + 1] = id end
  end
  return held
end

-- give_back undoes the claim of an action, if its token still holds.
function made.give_back(id, token)
  if #made.held(id, token) == 0 then return end
  local r = record(id)
  if r[CANCEL_AT] > 0 then
    end_cancelled(r, now)
  else
    give_back(r, 0)
  end
end
