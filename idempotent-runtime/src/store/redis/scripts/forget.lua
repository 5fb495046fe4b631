-- Deletes a record, whatever it is, unless an attempt holds its lease. A script without a flag may run when memory is
-- short. KEYS[1]
local key = KEYS[1]
if redis.call('EXISTS', key) == 0 then return {'absent'} end
local h = redis.pcall('GETRANGE', key, 0, 56)
-- A value that is not a string is not our record.
if type(h) ~= 'string' and not string.find(h.err, 'WRONGTYPE', 1, true) then return h end
if type(h) == 'string' then
  local version, tag = string.sub(h, 1, 1), string.sub(h, 2, 2)
  if (version == '1' or version == '2') and (tag == 'P' or tag == 'R') then
    local lease, kept, pttl = tonumber(string.sub(h, 35, 44)), tonumber(string.sub(h, 45, 57)), redis.call('PTTL', key)
    if lease and kept and pttl >= 0 then
      local left = lease + pttl - kept
      if left > 0 then return {'running', left} end
    end
  end
end
redis.call('DEL', key)
return {'forgotten'}
