#!lua flags=allow-oom
-- Takes over a key whose attempt died, and keeps the steps that it saved. It writes no more bytes than it replaces, so
-- it also runs when memory is short. KEYS[1]; ARGV: token, proposed fence, lease (10 digits), kept (13 digits),
-- fingerprint, 'rerun' or 'refuse'
local key, token = KEYS[1], ARGV[1]
local h = redis.call('GETRANGE', key, 0, 88)
if #h == 0 and redis.call('EXISTS', key) == 0 then return {'absent'} end
local version, tag = string.sub(h, 1, 1), string.sub(h, 2, 2)
if #h < 89 or (version ~= '1' and version ~= '2') then return {'unreadable'} end
if tag == 'D' then return {'done'} end
if tag ~= 'P' and tag ~= 'R' then return {'unreadable'} end

local pttl = redis.call('PTTL', key)
local fence, lease, kept = tonumber(string.sub(h, 19, 34)), tonumber(string.sub(h, 35, 44)), tonumber(string.sub(h, 45, 57))
if pttl < 0 or not (fence and lease and kept) or fence >= 9007199254740991 then return {'unreadable'} end
local steps = ''
if version == '2' then steps = redis.call('GETRANGE', key, 89, -1) end
if string.sub(h, 3, 18) == token then
  return {'ours', string.sub(h, 19, 34), tag, steps}
end
if string.sub(h, 58, 89) ~= ARGV[5] then return {'other'} end

-- The age of the lease follows from the record's remaining lifetime, by the server's clock alone.
local left = lease + pttl - kept
if left > 0 then return {'running', left} end
if ARGV[6] == 'refuse' then return {'died'} end

local mine = tonumber(ARGV[2])
if mine <= fence then mine = fence + 1 end
mine = string.format('%016.0f', mine)
redis.call('SET', key, version .. 'R' .. token .. mine .. ARGV[3] .. ARGV[4] .. ARGV[5] .. steps, 'PX', tonumber(ARGV[4]))
return {'ours', mine, 'R', steps}
