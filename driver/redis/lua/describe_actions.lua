-- describe tells of saved records what a reader needs, three values each: its id, the record, and what the record does not hold itself, or "": the
-- spec, the data, the change that ended the action, how many failures follow, these, and, if asked for, the changes before those in the record.
local function describe(answer, list, with_events)
  local wanted, external, place = {}, {}, {}
  for i, r in ipairs(list) do
    if r[SPEC] == '' then external[#external + 1] = ids[r] end
    local ended = r[STATE] > RUNNING and r[SEQ] < r[FIRST]
    if r[HAS_DATA] == 1 or r[FAILURES] > 0 or ended or with_events and r[FIRST] > 1 then
      local id = ids[r]
      place[i] = #wanted
      wanted[#wanted + 1] = id .. '/d'
      wanted[#wanted + 1] = ended and id .. '/' .. r[SEQ] or '/'
      for n = math.max(1, r[FAILURES] - KEPT + 1), r[FAILURES] do wanted[#wanted + 1] = id .. '/f' .. n end
      if with_events then
        for seq = math.max(1, r[SEQ] - KEPT + 1), r[FIRST] - 1 do wanted[#wanted + 1] = id .. '/' .. seq end
      end
    end
  end
  local values, specs, next_spec = each('HMGET', LOG, wanted), each('HMGET', SPECS, external), 1
  place[#list + 1] = #wanted
  for i = #list, 1, -1 do place[i] = place[i] or place[i + 1] end
  for i, r in ipairs(list) do
    local spec, extra = '', ''
    if r[SPEC] == '' then
      spec, next_spec = specs[next_spec] or '', next_spec + 1
    end
    local from, to = place[i], place[i + 1]
    if spec ~= '' or to > from then
      extra = {spec, values[from + 1] or '', values[from + 2] or '', math.min(KEPT, r[FAILURES])}
      if to == from then extra = {spec, '', '', 0} end
      for j = from + 3, to do extra[#extra + 1] = values[j] end
    end
    answer[#answer + 1] = ids[r]
    answer[#answer + 1] = blobs[r]
    answer[#answer + 1] = extra
  end
  return answer
end
