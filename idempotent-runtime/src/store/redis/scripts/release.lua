-- Frees the key.
-- KEYS[1]; ARGV: token
local h = redis.call('GETRANGE', KEYS[1], 0, 17)
if h ~= '1P' .. ARGV[1] and h ~= '1R' .. ARGV[1] then return 'not ours' end
redis.call('DEL', KEYS[1])
return 'ended'
