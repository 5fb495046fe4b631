-- Writes a record if what is there is as expected. KEYS[1]; ARGV:
-- 1  what is expected: 'absent' · 'owner', a smaller change of the token · 'exactly', the change of the token ·
--    'unreadable', these bytes or another type than a string
-- 2  the token, or the bytes
-- 3  the change, 16 digits
-- 4  the new record
-- 5  how long to keep it in milliseconds, '' to keep the expiry that is there, or '0' to keep nothing
-- 6  'body' if the body that is there belongs to the new record, or ''
-- 7  the last moment in microseconds since 1970, or ''
-- Returns 'done', 'late', or what is there instead with its expiry.
local key, expected = KEYS[1], ARGV[1]
local head, version, holds
if expected == 'unreadable' then
  local value = redis.pcall('GET', key)
  holds = type(value) == 'table' or value == ARGV[2]
else
  head = redis.call('GETRANGE', key, 0, 104)
  version = string.sub(head, 1, 1)
  local change
  if version == '3' then
    change = string.sub(head, 90, 105)
  elseif version == '1' or version == '2' then
    -- Layouts without a number: a claim, a takeover or a completion.
    local tag = string.sub(head, 2, 2)
    change = tag == 'P' and '0000000000000001' or tag == 'R' and '0000000000000002' or '9000000000000000'
  end
  local ours = change and string.sub(head, 3, 18) == ARGV[2]
  if expected == 'owner' then
    holds = ours and change < ARGV[3]
  elseif expected == 'exactly' then
    holds = ours and change == ARGV[3]
  else
    holds = #head == 0 and redis.call('EXISTS', key) == 0
  end
end
if not holds then return {redis.call('GET', key), redis.call('PTTL', key)} end

if ARGV[7] ~= '' then
  local now = redis.call('TIME')
  if now[1] * 1000000 + now[2] > tonumber(ARGV[7]) then return 'late' end
end
if ARGV[5] == '0' then
  redis.call('DEL', key)
  return 'done'
end
local record = ARGV[4]
if ARGV[6] == 'body' then record = record .. redis.call('GETRANGE', key, version == '3' and 105 or 89, -1) end
if ARGV[5] == '' then
  redis.call('SET', key, record, 'KEEPTTL')
else
  redis.call('SET', key, record, 'PX', ARGV[5])
end
return 'done'
