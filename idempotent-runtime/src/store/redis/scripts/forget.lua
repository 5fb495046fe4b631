-- Removes a record, whatever it is, unless an attempt holds its lease. Without a flag it may run when memory is short.
-- KEYS[1]
local key = KEYS[1]
local kind = redis.call('TYPE', key).ok
if kind == 'none' then return {'absent'} end
if kind == 'string' then
  local h = redis.call('GETRANGE', key, 0, 56)
  local tag = string.sub(h, 1, 2)
  if tag == '1P' or tag == '1R' then
    local lease, kept, pttl = tonumber(string.sub(h, 35, 44)), tonumber(string.sub(h, 45, 57)), redis.call('PTTL', key)
    if lease and kept and pttl >= 0 then
      local left = lease + pttl - kept
      if left > 0 then return {'running', left} end
    end
  end
end
redis.call('DEL', key)
return {'forgotten'}
