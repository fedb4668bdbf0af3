-- Returns what KEYS[2] holds, or '', then the fields and values of the user's sessions.
-- include user_sessions
local found = is_hash and redis.call('HGETALL', KEYS[1]) or {}
table.insert(found, 1, KEYS[2] and redis.call('GET', KEYS[2]) or '')
return found
