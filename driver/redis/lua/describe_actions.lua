-- describe tells of saved records what a reader needs, four values each: the id, the record, the spec, and what the record does not hold itself, or
-- "": the data, the change that ended the action, how many failures follow, these, and, if asked for, the changes before those in the record. specs are
-- those of the list, if they were read before.
local function describe(answer, list, with_events, specs)
  local wanted, place = {}, {}
  for i, id in ipairs(list) do
    local r = records[id]
    place[i] = #wanted
    if r then
      local ended = r[STATE] > RUNNING and r[SEQ] < r[FIRST]
      if r[HAS_DATA] == 1 or r[FAILURES] > 0 or ended or with_events and r[FIRST] > 1 then
        wanted[#wanted + 1] = id .. '/d'
        wanted[#wanted + 1] = ended and id .. '/' .. r[SEQ] or '/'
        for n = math.max(1, r[FAILURES] - KEPT + 1), r[FAILURES] do wanted[#wanted + 1] = id .. '/f' .. n end
        if with_events then
          for seq = math.max(1, r[SEQ] - KEPT + 1), r[FIRST] - 1 do wanted[#wanted + 1] = id .. '/' .. seq end
        end
      end
    end
  end
  place[#list + 1] = #wanted
  local values, n = each('HMGET', LOG, wanted), #answer
  for i, id in ipairs(list) do
    local from, to, extra = place[i], place[i + 1], ''
    if to > from then
      extra = {values[from + 1] or '', values[from + 2] or '', math.min(KEPT, records[id][FAILURES])}
      for j = from + 3, to do extra[#extra + 1] = values[j] end
    end
    answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4] = id, blobs[id], specs and specs[i] or spec_of(blobs[id]) or false, extra
    n = n + 4
  end
  return answer
end
