-- Frees the key. If the claim is a takeover or has saved steps, only ends the lease, because the next attempt must know
-- of it. KEYS[1]; ARGV: token
local key, token = KEYS[1], ARGV[1]
local h = redis.call('GETRANGE', key, 0, 17)
local version, owner = string.sub(h, 1, 1), string.sub(h, 2, 18)
if version ~= '1' and version ~= '2' then return 'not ours' end
if owner == 'R' .. token then return 'keep' end
if owner ~= 'P' .. token then return 'not ours' end
redis.call('DEL', key)
return 'ended'
