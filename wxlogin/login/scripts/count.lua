-- KEYS[1]: one window of one limit, which begins with its first request. ARGV: how many seconds the window lasts.
-- Returns how many requests there are.
local count = redis.call('INCRBY', KEYS[1], 1)
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return count
