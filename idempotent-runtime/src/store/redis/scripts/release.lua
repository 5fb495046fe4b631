-- Frees the key, unless the claim is a takeover: what the attempt before it did is still unknown.
-- KEYS[1]; ARGV: token
local owner = redis.call('GETRANGE', KEYS[1], 0, 17)
if owner == '1R' .. ARGV[1] then return 'takeover' end
if owner ~= '1P' .. ARGV[1] then return 'not ours' end
redis.call('DEL', KEYS[1])
return 'ended'
