-- Ends the lease and keeps the record for as long as it would be kept after its lease. KEYS[1]; ARGV: token
local key, token = KEYS[1], ARGV[1]
local h = redis.call('GETRANGE', key, 0, 56)
local version, owner = string.sub(h, 1, 1), string.sub(h, 2, 18)
if version ~= '1' and version ~= '2' then return 'not ours' end
if owner ~= 'P' .. token and owner ~= 'R' .. token then return 'not ours' end
local lease, kept = tonumber(string.sub(h, 35, 44)), tonumber(string.sub(h, 45, 57))
if not (lease and kept) then return 'not ours' end
local left = redis.call('PTTL', key)
if left < 0 or left > kept - lease then redis.call('PEXPIRE', key, math.max(kept - lease, 1)) end
return 'ended'
