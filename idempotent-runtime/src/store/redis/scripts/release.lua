-- Frees the key. A takeover only ends its lease: what the attempt before it did is still unknown.
-- KEYS[1]; ARGV: token
local key = KEYS[1]
local h = redis.call('GETRANGE', key, 0, 56)
local owner = string.sub(h, 1, 18)
if owner == '1P' .. ARGV[1] then
  redis.call('DEL', key)
  return 'ended'
end
if owner ~= '1R' .. ARGV[1] then return 'not ours' end
local lease, kept = tonumber(string.sub(h, 35, 44)), tonumber(string.sub(h, 45, 57))
if not (lease and kept) then return 'not ours' end
local left = redis.call('PTTL', key)
if left < 0 or left > kept - lease then redis.call('PEXPIRE', key, math.max(kept - lease, 1)) end
return 'ended'
