#!lua flags=allow-oom
-- Replaces the running record by the finished one. The effect has happened, so it lands even when memory is short.
-- KEYS[1]; ARGV: token, finished record, how long to keep it
local key, token = KEYS[1], ARGV[1]
local h = redis.call('GETRANGE', key, 0, 17)
if #h == 0 then
  if redis.call('SET', key, ARGV[2], 'NX', 'PX', tonumber(ARGV[3])) then return 'stored' end
  return 'lost'
end
if h == '1P' .. token or h == '1R' .. token then
  redis.call('SET', key, ARGV[2], 'PX', tonumber(ARGV[3]))
  return 'stored'
end
if h == '1D' .. token then return 'already' end
return 'lost'
