-- ARGV: field. With the user's last session goes the replaced one.
-- Returns whether there was one.
-- include user_sessions
if not is_hash or redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
local alive = prune()
if #alive == 0 and KEYS[2] then redis.call('DEL', KEYS[2]) end
expire_with(alive)
return 1
