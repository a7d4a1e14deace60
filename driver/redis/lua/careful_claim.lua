
-- lease is what a claim does to a record that is not plain.
function made.lease(id, at, worker, lease, token)
  local r = record(id)
  enter(r, RUNNING)
  begin(r, at, worker, lease, token)
  note(r, 'claimed', at, worker)
end

-- held are those of claimed actions whose tokens still hold.
function made.held(list, tokens)
  load(list)
  local held = {}
  for i, id in ipairs(list) do
    local r = find(id)
    if r and r[STATE] == RUNNING and r[TOKEN] == tokens[i] then held[#held + 1] = id end
  end
  return held
end

-- give_back undoes the claim of an action, if its token still holds.
function made.give_back(id, token)
  if #made.held({id}, {token}) == 0 then return end
  local r = record(id)
  if r[CANCEL_AT] > 0 then
    end_cancelled(r, now)
  else
    give_back(r, 0)
  end
end
