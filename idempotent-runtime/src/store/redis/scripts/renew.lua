-- Starts the lease again, by giving the record its whole lifetime again. It never creates a record, because a renewal
-- may arrive after its key was freed. A script without a flag may run when memory is short. KEYS[1]; ARGV: token
local key, token = KEYS[1], ARGV[1]
local h = redis.call('GETRANGE', key, 0, 56)
if #h == 0 then
  if redis.call('EXISTS', key) == 1 then return {'lost'} end
  local now = redis.call('TIME')
  return {'absent', now[1], now[2]}
end
local version = string.sub(h, 1, 1)
if (version ~= '1' and version ~= '2') or string.sub(h, 3, 18) ~= token then return {'lost'} end
if string.sub(h, 2, 2) == 'D' then return {'completed'} end
local kept = tonumber(string.sub(h, 45, 57))
if not kept then return {'lost'} end
redis.call('PEXPIRE', key, kept)
return {'renewed'}
