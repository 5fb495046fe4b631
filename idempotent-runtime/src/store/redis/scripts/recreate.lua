-- Creates a running record that the server has lost. It does so only before a given moment of the server's clock, so
-- that a command that was delayed does not create again what was freed meanwhile. A script without a flag is refused
-- when memory is short. KEYS[1]; ARGV: running record, how long to keep it, the last moment in microseconds since 1970
local key = KEYS[1]
local now = redis.call('TIME')
if now[1] * 1000000 + now[2] > tonumber(ARGV[3]) then return 'late' end
if redis.call('SET', key, ARGV[1], 'NX', 'PX', tonumber(ARGV[2])) then return 'created' end
return 'exists'
