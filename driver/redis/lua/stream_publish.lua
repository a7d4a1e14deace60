#!lua
-- stream_publish: appends batches to one stream, each all or none.
-- KEYS  1 the stream  2 its m; beside it p:<producer>, k:<key>, and on trimming groups and what group_core names
-- ARGV  1 how a history begins, see open; a message without events says by it which call it is of  2 the channel  3 whether the message carries the events, so
--       that readers need not read them: if at least so many have heard the one before ("": never)  4 the number of batches; for each of them
--       producer ("": none)  seq  keep ("": as it was)  age (ms)  window of its keys (ms)  expect ("": anything)  the number of events  "1": all
--       of them are plain, without key and headers; then for each event: type  data, and if not all are plain:
--       more ("": this one is; else how many arguments follow)  key  headers
-- Answers for each batch "epoch id count n [id count n ...]": runs of n events that follow one another, the first at id, count; or
-- "!code text".
local st = open(KEYS[1], string.sub(KEYS[2], 1, -2), ARGV[1])
local was, begin = st.added, ending(st)
local arg = 5
local whole = 0 -- how many events the batches have that were not answered before

-- admit reads a batch, and finds the places of events whose keys are stored.
local function admit(b)
  if b.plain then
    b.fresh = b.n
    arg = arg + 2 * b.n
    return
  end
  for i = 1, b.n do
    local more = ARGV[arg + 2]
    if more ~= '' then
      local key = ARGV[arg + 3]
      if key ~= '' then
        local where = call('GET', st.tag .. 'k:' .. key)
        local epoch, place = string.match(where or '', '^(%d+) (.*)$')
        b.known = b.known or {}
        if epoch == st.epoch then b.known[i] = place else b.fresh = b.fresh + 1 end
      else
        b.fresh = b.fresh + 1
      end
      arg = arg + more
    else
      b.fresh = b.fresh + 1
    end
    arg = arg + 3
  end
end

-- writeplain appends a batch of plain events, whose arguments begin at from, and returns the run of its answer.
local function writeplain(b, from)
  local main, ms, offset = st.main, nextids(st)
  local count = st.added
  local first = call('XADD', main, ms, ARGV[from], ARGV[from + 1], 'rpw', offset)
  local last = first
  for i = from + 2, from + 2 * b.n - 2, 2 do last = call('XADD', main, ms, ARGV[i], ARGV[i + 1], 'rpw', offset) end
  st.last, st.added, st.length = last, count + b.n, st.length + b.n
  return st.epoch .. ' ' .. first .. ' ' .. text(count + 1) .. ' ' .. b.n
end

-- write appends the fresh events of a batch, whose arguments begin at from, and returns the runs of its answer.
local function write(b, from)
  local runs, first, count, n = {}, nil, 0, 0
  local function place(id, c, follows)
    if follows and first then
      n = n + 1
      return
    end
    if first then runs[#runs + 1] = first .. ' ' .. text(count) .. ' ' .. n end
    first, count, n = id, c, 1
  end
  local fresh = false -- the event before was appended too
  local keyed
  for i = 1, b.n do
    local kind, data, more = ARGV[from], ARGV[from + 1], ARGV[from + 2]
    from = from + 3
    local known = b.known and b.known[i]
    local key, headers = '', nil
    if more ~= '' then
      key = ARGV[from]
      if more + 0 > 1 then headers = {unpack(ARGV, from + 1, from + more - 1)} end
      from = from + more
      if key ~= '' and not known then known = keyed and keyed[key] end
    end
    if known then
      local id, c = string.match(known, '^(%S+) (%d+)$')
      place(id, tonumber(c), false)
      fresh = false
    else
      local id
      if key == '' then
        id = append(st, kind, data, '', headers)
      else
        id = append(st, kind, data, ' ' .. key, headers)
        keyed = keyed or {}
        keyed[key] = id .. ' ' .. text(st.added)
        call('SET', st.tag .. 'k:' .. key, st.epoch .. ' ' .. keyed[key], 'PX', b.window)
      end
      place(id, st.added, fresh)
      fresh = true
    end
  end
  runs[#runs + 1] = first .. ' ' .. text(count) .. ' ' .. n
  return st.epoch .. ' ' .. table.concat(runs, ' ')
end

local function publish()
  local producer, seq, keep, expect = ARGV[arg], ARGV[arg + 1], ARGV[arg + 2], ARGV[arg + 5]
  local b = {n = tonumber(ARGV[arg + 6]), window = ARGV[arg + 4], plain = ARGV[arg + 7] == '1', fresh = 0}
  local age = ARGV[arg + 3]
  arg = arg + 8
  local from = arg
  admit(b)
  local record = producer ~= '' and producer ~= st.producer and st.tag .. 'p:'
  if producer ~= '' then
    local epoch, n, answer = st.epoch, st.seq, nil
    if record then epoch, n, answer = string.match(call('GET', record .. producer) or '', '^(%d+) (%d+) (.*)$') end
    if epoch == st.epoch and not less(n, seq) then
      if n ~= seq then return '!conflict batch ' .. seq .. ' came after batch ' .. n .. ' of the same producer was answered' end
      if not record then return call('HGET', st.meta, 'pa') end
      call('PEXPIRE', record .. producer, WINDOW)
      return answer
    end
  end
  if b.fresh > 0 and expect ~= '' and expect ~= ending(st) then
    return '!conflict the stream does not end where Expect says, but after ' .. st.last .. '; read on from there and decide again'
  end
  whole = whole + b.n
  local answer = b.plain and writeplain(b, from) or write(b, from)
  if record and st.producer ~= '' then
    call('SET', record .. st.producer, st.epoch .. ' ' .. st.seq .. ' ' .. call('HGET', st.meta, 'pa'), 'PX', WINDOW)
  end
  if producer ~= '' then
    st.producer, st.seq = producer, seq
    call('HSET', st.meta, 'pa', answer)
    leave(st, text(st.added), '')
  end
  if keep ~= '' then
    st.keep, st.age = tonumber(keep), tonumber(age)
    call('HSET', st.meta, 'ke', keep, 'ka', age)
  end
  retain(st, st.keep, st.age)
  return answer
end

local answers = {}
for i = 1, tonumber(ARGV[4]) do answers[i] = publish() end
if st.added > was then
  local channel, message, least = ARGV[2], ending(st), tonumber(ARGV[3])
  if least and st.heard >= least and st.added - was == whole then
    ARGV[1], ARGV[2], ARGV[5] = message, begin, '' -- the places around it, and no name of a producer
    message = cmsgpack.pack(ARGV)
  else
    message = message .. '\n' .. ARGV[1]
  end
  st.heard = call('PUBLISH', channel, message)
  leave(st, text(st.added), st.last)
end
return answers
