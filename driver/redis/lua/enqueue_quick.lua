-- enqueue_quick: the usual enqueue while a claim waits: a plain action comes alone, nothing is ready or due, and it is given to the claim that has the seat, if that is heard
-- there. It stands before all functions, since to make them costs as much as the rest; what it does not do is left to actions_enqueue.lua, which says what ARGV is. What has been kept
-- too long does not make it unusual: the next script removes that.
if queue and #queue > QUEUE_SIZE and #ARGV == 8 and ARGV[8]:byte(1) < 128 and queue:byte(QUEUE_SIZE + 1) ~= RESTORING then
  local call, pack, format = redis.call, struct.pack, QUEUE_FORMAT .. SEAT_FORMAT
  local newest, created, token, paused, pending, running, completed, failed, cancelled, ready, next, retire, watched, ends, seq, lease, lane, channel, worker =
    struct.unpack(format, queue)
  local lot, id = ARGV[5], ARGV[7]
  if channel ~= '' and ends > now and ready == 0 and paused == 0 and now >= newest and (next == 0 or next > now) and call('HEXISTS', RECORDS, id) == 0 then
    created, token, ends = math.max(created + 1, now), math.max(token + 1, now), now + lease
    local stamp = pack('>I8', created)
    local blob = pack('>c0c0BI8c0I8I5I8Bc0B', stamp, stamp, 1, now, ARGV[8], now, lease, token, #worker, worker, LEASED)
    if call('PUBLISH', channel, lane .. pack('>I8I2I4', seq, #id, #blob) .. id .. blob .. lot:sub(ALONE_AT)) > 0 then
      local handle, sooner = stamp .. id, next == 0 or ends < next
      call('HSET', RECORDS, id, blob)
      call('HSET', SPECS, stamp, lot)
      call('ZADD', INDEX, created, handle)
      call('ZADD', RUN, ends, handle)
      call('SET', QUEUE, pack(format, now, created, token, paused, pending, running + 1, completed, failed, cancelled, ready, sooner and ends or next, retire, watched,
        ends, seq, token, lane, '', id))
      if sooner then call('PUBLISH', ARGV[1], string.format('0 %d', lease)) end
      return {0}
    end
    queue = queue:sub(1, QUEUE_SIZE)
  end
end
