-- ARGV: field, the value as it was read, the new value. A session that ended or changed meanwhile stays as it is.
-- Returns whether it was written.
-- include user_sessions
if not is_hash or redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
expire_with(prune())
return 1
