#!lua flags=allow-oom
-- Writes the steps after the running header, and does not renew the lease. The effects of the steps have happened, so
-- the script also writes when memory is short. It never creates a record: see renew.lua. KEYS[1]; ARGV: token, steps
local key, token = KEYS[1], ARGV[1]
local h = redis.call('GETRANGE', key, 0, 88)
if #h == 0 then
  if redis.call('EXISTS', key) == 1 then return {'lost'} end
  local now = redis.call('TIME')
  return {'absent', now[1], now[2]}
end
local version, tag = string.sub(h, 1, 1), string.sub(h, 2, 2)
if (version ~= '1' and version ~= '2') or #h < 89 or string.sub(h, 3, 18) ~= token then return {'lost'} end
if tag ~= 'P' and tag ~= 'R' then return {'lost'} end
redis.call('SET', key, '2R' .. string.sub(h, 3, 89) .. ARGV[2], 'KEEPTTL')
return {'saved'}
