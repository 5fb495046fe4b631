#!lua flags=allow-oom
-- Replaces the finished record of this attempt by another one. Records of other attempts are not changed. KEYS[1];
-- ARGV: token, finished record, how long to keep it
local key = KEYS[1]
if redis.call('GETRANGE', key, 0, 17) ~= '1D' .. ARGV[1] then return 'lost' end
redis.call('SET', key, ARGV[2], 'PX', tonumber(ARGV[3]))
return 'stored'
