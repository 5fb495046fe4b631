#!lua flags=no-writes
-- Returns the record and its expiry at the same moment. Two commands could return those of two different records. MULTI
-- is not used because it is refused when memory is short. KEYS[1]
return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}
