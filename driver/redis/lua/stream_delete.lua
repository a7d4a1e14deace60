#!lua flags=allow-oom
-- stream_delete: removes a stream with its groups and dead letters. What expires by itself (p:, k:, l:) belongs to an epoch and is
-- worth nothing without it.
-- KEYS  1 the stream  2 its m; beside it groups, dead and what group_core names
-- ARGV  1 the channel of the stream
settled()
local kind = call('TYPE', KEYS[1]).ok
if kind ~= 'stream' and kind ~= 'none' then fail('conflict', 'the key holds a ' .. kind .. ', no stream') end

local function drop(main, tag)
  for _, name in ipairs(call('SMEMBERS', tag .. 'groups')) do
    for _, kind in ipairs({'g:', 'gl:', 'gd:', 'gr:', 'gw:', 'gk:', 'gc:', 'gs:'}) do call('UNLINK', tag .. kind .. name) end
  end
  for _, name in ipairs(call('SMEMBERS', tag .. 'dead')) do
    drop(tag .. 'dead:' .. name, tag .. 'of-dead:' .. #name .. ':' .. name .. ':')
  end
  call('UNLINK', main, tag .. 'm', tag .. 'groups', tag .. 'dead')
end

local tag = string.sub(KEYS[2], 1, -2)
drop(KEYS[1], tag)
local parent, group = string.match(tag, '^(%b{}:)of%-dead:%d+:(.*):$')
if parent then call('SREM', parent .. 'dead', group) end
call('PUBLISH', ARGV[1], '')
return redis.status_reply('OK')
