-- Starts the lease anew by giving the record its whole life again. Without a flag it may run when memory is short; only
-- to create a lost claim again is refused then.
-- KEYS[1]; ARGV: token, running record, how long to keep it
local key, token = KEYS[1], ARGV[1]
local h = redis.call('GETRANGE', key, 0, 56)
if #h == 0 then
  if redis.call('SET', key, ARGV[2], 'NX', 'PX', tonumber(ARGV[3])) then return 'recreated' end
  return 'lost'
end
if string.sub(h, 1, 1) ~= '1' or string.sub(h, 3, 18) ~= token then return 'lost' end
if string.sub(h, 2, 2) == 'D' then return 'completed' end
local kept = tonumber(string.sub(h, 45, 57))
if not kept then return 'lost' end
redis.call('PEXPIRE', key, kept)
return 'renewed'
