#!lua flags=no-writes
-- The record and its expiry at one moment; asked for one after the other they might be those of two records. Not by
-- MULTI: that is refused when memory is short.
-- KEYS[1]
return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}
