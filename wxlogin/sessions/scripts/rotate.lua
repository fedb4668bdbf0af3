-- ARGV: field, the new field, the new value. A session that ended meanwhile stays ended; a repeat finds it done.
-- Returns whether the session is under its new field.
-- include user_sessions
if not is_hash then return 0 end
if redis.call('HGET', KEYS[1], ARGV[2]) == ARGV[3] then return 1 end
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
expire_with(prune())
return 1
