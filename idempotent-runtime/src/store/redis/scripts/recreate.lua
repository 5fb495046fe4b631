-- Creates a running record that the server lost. The server's time decides whether it may: a command that was held up on
-- the way must not create again what was freed meanwhile. Without a flag it is refused when memory is short.
-- KEYS[1]; ARGV: running record, how long to keep it, the last moment in microseconds since 1970
local key = KEYS[1]
local now = redis.call('TIME')
if now[1] * 1000000 + now[2] > tonumber(ARGV[3]) then return 'late' end
if redis.call('SET', key, ARGV[1], 'NX', 'PX', tonumber(ARGV[2])) then return 'created' end
return 'exists'
