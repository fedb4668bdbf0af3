-- ARGV: the field of the one session that stays, or ''.
-- Returns how many were ended.
-- include user_sessions
if not is_hash then return 0 end
if KEYS[2] then redis.call('DEL', KEYS[2]) end
local ended, spared = 0, {}
for _, session in ipairs(prune()) do
  if session.field == ARGV[1] then
    spared = {session}
  else
    ended = ended + redis.call('HDEL', KEYS[1], session.field)
  end
end
expire_with(spared)
return ended
