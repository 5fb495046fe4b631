#!lua flags=allow-oom
-- Replaces the running record by the finished one. The handler's effect has happened, so the script also writes when
-- memory is short. KEYS[1]; ARGV: token, finished record, how long to keep it
local key, token = KEYS[1], ARGV[1]
local h = redis.call('GETRANGE', key, 0, 17)
if #h == 0 then
  if redis.call('SET', key, ARGV[2], 'NX', 'PX', tonumber(ARGV[3])) then return 'stored' end
  return 'lost'
end
local version, owner = string.sub(h, 1, 1), string.sub(h, 2, 18)
if version ~= '1' and version ~= '2' then return 'lost' end
if owner == 'P' .. token or owner == 'R' .. token then
  redis.call('SET', key, ARGV[2], 'PX', tonumber(ARGV[3]))
  return 'stored'
end
if owner == 'D' .. token then return 'already' end
return 'lost'
