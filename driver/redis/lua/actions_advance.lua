#!lua flags=allow-oom
-- Advance: moves of claimed actions, each fenced by its token.
-- ARGV from 4: the moves; of each the id, and to complete it the token as it is stored, and the output; else "" and the move, packed.
-- Answer: for each move 0, if it has completed its action, else its code, the state of the action, the end of its lease or 0, and whether a
-- cancel was requested.

local last, refused = recall()
if refused then return refused end
if last then return last end
if advance() then
  save()
  return 'behind'
end

local list = {}
for i = 4, #ARGV, 3 do list[#list + 1] = ARGV[i] end
load(list)

-- complete completes an action to which nothing else has happened than its claim; false: this is none, or the lease does not hold.
local hset, unrun, done, texts = {}, {}, {}, {}
local function complete(id, token, output)
  local blob = blobs[id]
  if records[id] ~= nil or not blob or blob:byte(-1) ~= LEASED or blob:sub(-LEASE_SIZE, 7 - LEASE_SIZE) ~= token then return false end
  blob = blob .. output .. struct.pack(END_FORMAT, now, #output, ENDED_PLAINLY)
  local n = #hset
  blobs[id], hset[n + 1], hset[n + 2] = blob, id, blob
  unrun[#unrun + 1] = id
  local at = kept_until(COMPLETED, now, (struct.unpack('>i8', blob, KEEP_COMPLETED_AT)))
  if at then
    local written = texts[at]
    if not written then
      written = text(at)
      texts[at] = written
      sooner(RETIRE, at)
    end
    n = #done
    done[n + 1], done[n + 2] = written, id
  end
  changed[#changed + 1], is_over[id] = id, true
  return true
end

local answer = {}
for i, id in ipairs(list) do
  local how, what = ARGV[3 * i + 2], ARGV[3 * i + 3]
  if how ~= '' and complete(id, how, what) then
    answer[i] = 0
  else
    answer[i] = careful().move(how == '' and cmsgpack.unpack(what) or {id, (struct.unpack('>I8', how)), COMPLETE, what})
  end
end
remember(answer)
if #unrun > 0 then
  each('HSET', RECORDS, hset)
  each('ZREM', RUN, unrun)
  each('ZADD', DONE, done)
  queue[COUNT + RUNNING], queue[COUNT + COMPLETED] = queue[COUNT + RUNNING] - #unrun, queue[COUNT + COMPLETED] + #unrun
  dirty = true
end
save()
return answer
