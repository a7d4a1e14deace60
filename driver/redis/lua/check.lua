#!lua flags=no-writes
-- check: finds what the user of this connection may not do, and changes nothing: permissions are checked before it is found that a script that
-- only reads must not write.
-- KEYS  1 a key as the commands use them
-- ARGV  1 a channel, for PUBLISH  2... commands, each one or two words
-- Answers the texts of what is refused or unknown: command, reason, ...
local refused = {}
for i = 2, #ARGV do
  local command = {}
  for word in string.gmatch(ARGV[i], '%S+') do command[#command + 1] = word end
  local err
  for _ = 1, 10 do -- until there are enough arguments
    local answer = redis.pcall(unpack(command))
    err = type(answer) == 'table' and answer.err or ''
    if not string.find(err, 'Wrong number of args', 1, true) then break end
    command[#command + 1] = ARGV[i] == 'PUBLISH' and ARGV[1] or KEYS[1]
  end
  if string.find(err, 'The user executing the script', 1, true) or string.find(err, 'Unknown Redis command', 1, true) then
    refused[#refused + 1] = ARGV[i]
    refused[#refused + 1] = err
  end
end
return refused
