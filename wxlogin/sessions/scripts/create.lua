-- ARGV: the new session's field and value; the field of the one that it replaces, or ''; how many sessions a user may
-- have (0: any number); for how many seconds the replaced one is kept in KEYS[2], if that is given.
-- The oldest of too many are ended, but never the new one.
-- Returns the value of the session that was replaced, or '', and how many were ended as too many.
-- include user_sessions
if not is_hash then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local replaced = ARGV[3] ~= '' and redis.call('HGET', KEYS[1], ARGV[3])
if replaced then
  redis.call('HDEL', KEYS[1], ARGV[3])
  if KEYS[2] then redis.call('SET', KEYS[2], ARGV[3] .. replaced, 'EX', ARGV[5]) end
end
local alive, limit, dropped = prune(), tonumber(ARGV[4]), 0
if limit > 0 then
  for _, session in ipairs(alive) do
    if session.field == ARGV[1] then session.created_at = math.huge end
  end
  table.sort(alive, function(one, other) return one.created_at > other.created_at end)
  while #alive > limit do
    redis.call('HDEL', KEYS[1], table.remove(alive).field)
    dropped = dropped + 1
  end
end
expire_with(alive)
return {replaced or '', dropped}
