-- KEYS[1]: the code. ARGV: our claim, the outcome, for how many milliseconds that is kept.
-- A claim that was lost stores nothing. Returns whether the outcome was stored.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
