-- Returns the commands of the other scripts that the user may not run. Nothing is written: the key does not exist, and
-- NX and XX exclude each other. A missing permission for the key is ignored, because the names of records are not known
-- yet. ARGV: a key
local refused = {}
local function try(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err and string.find(answer.err, 'run th', 1, true) then
    refused[#refused + 1] = select(1, ...)
  end
end
local key = ARGV[1]
try('GET', key)
try('GETRANGE', key, 0, 0)
try('SET', key, '', 'NX', 'XX')
try('EXISTS', key)
try('DEL', key)
try('PTTL', key)
try('TIME')
return refused
