-- ARGV: owner; for how many milliseconds a lease lasts; for how many the longest does; '1' if a token that works has to
-- do for want of time.
-- Returns what is to be done: use the token; refresh it, which is ours now; wait for the one who does; fail.
-- include access_token
local token = is_ahead('expires_at', KEY_MS) and field('token') or ''
if token ~= '' and is_ahead('refresh_at', KEY_MS) then return {'use', token} end
local is_held = is_ahead('held_until', tonumber(ARGV[3])) and not holds_lease(ARGV[1])
local has_failed = is_ahead('failed_until', FAILURE_MS)
if token ~= '' and (is_held or has_failed or ARGV[4] == '1') then return {'use', token} end
if is_held then return {'wait'} end
if has_failed then return {'fail', field('failed')} end
local is_bad = is_ahead('bad_until', BAD_MS)
local answer = {'refresh', token, is_bad and field('bad') or '', is_bad and field('bad_as') or ''}
if not is_hash then redis.call('DEL', key) end
redis.call('HSET', key, 'holder', ARGV[1], 'held_until', in_ms(ARGV[2]))
keep()
return answer
