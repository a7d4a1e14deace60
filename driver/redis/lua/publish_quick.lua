-- publish_quick: the usual publish: one batch of plain events, without expectation, to a stream that ends where rpw's newest publish has left it. What m
-- says of it and two short looks are enough then. It stands before all functions, since to make them costs as much as the rest; what it does not
-- do is left to stream_publish, which says what KEYS and ARGV are.
if ARGV[4] == '1' and ARGV[12] == '1' and ARGV[10] == '' then
  local call, ARGV = redis.call, ARGV
  local stream, meta, producer, seq, n = KEYS[1], KEYS[2], ARGV[5], ARGV[6], tonumber(ARGV[11])
  local m = call('HMGET', meta, 'e', 'r', 'ke', 'ka', 'n')
  local epoch, keep, age = m[1], m[3], m[4]
  local added, last, heard, known, by = string.match(m[5] or '', '^(%d+) (%d+%-%d+) (%d+) (%d*) (.*)$')
  local length = added and age == '0' and (ARGV[7] == '' or ARGV[7] == keep and ARGV[8] == age) and call('XLEN', stream)
  keep = keep == '0' and DEFAULT_KEEP or tonumber(keep)
  if length and length > 0 and length == added - m[2] and (keep < 0 or length + n <= keep + math.max(100, math.floor(keep / 100))) and
    #call('XREVRANGE', stream, '+', '(' .. last, 'COUNT', 1) == 0 then
    local before, record = known, by ~= producer and string.sub(meta, 1, -2) .. 'p:'
    if record then
      call('EXISTS', meta .. '-', meta .. '+') -- see settled in stream_core; all else that is touched here is in KEYS
      local of, s = string.match(producer ~= '' and call('GET', record .. producer) or '', '^(%d+) (%d+) ')
      before = of == epoch and s or ''
    end
    if producer == '' or #before < #seq or #before == #seq and before < seq then
      if record and by ~= '' then call('SET', record .. by, epoch .. ' ' .. known .. ' ' .. call('HGET', meta, 'pa'), 'PX', WINDOW) end
      local count = string.format('%d', added + 1)
      local first = call('XADD', stream, '*', ARGV[13], ARGV[14], 'rpw', '=' .. count)
      local newest, ended = first, count
      if n > 1 then
        local ms, s = string.match(first, '^(%d+%-)(%d+)$')
        local offset = string.format('%d', count - s)
        ms = ms .. '*'
        for i = 15, 12 + 2 * n, 2 do newest = call('XADD', stream, ms, ARGV[i], ARGV[i + 1], 'rpw', offset) end
        ended = string.format('%d', added + n)
      end
      local message, channel = epoch .. ' ' .. newest .. ' ' .. ended, ARGV[2]
      if ARGV[3] ~= '' and tonumber(heard) >= tonumber(ARGV[3]) then
        ARGV[1], ARGV[2], ARGV[5] = message, epoch .. ' ' .. last .. ' ' .. added, ''
        message = cmsgpack.pack(ARGV)
      else
        message = message .. '\n' .. ARGV[1]
      end
      heard = call('PUBLISH', channel, message)
      local answer = epoch .. ' ' .. first .. ' ' .. count .. ' ' .. ARGV[11]
      call('HSET', meta, 'n', ended .. ' ' .. newest .. ' ' .. heard .. ' ' .. seq .. ' ' .. producer, 'pa', answer)
      return {answer}
    end
  end
end
