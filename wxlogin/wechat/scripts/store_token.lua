-- ARGV: owner; the encrypted token; its hash; in how many milliseconds it expires, and is refreshed.
-- Returns whether it was stored: not so without the lease, or if WeChat has called this token bad.
-- include access_token
if not holds_lease(ARGV[1]) then return 0 end
release_lease()
if is_ahead('bad_until', BAD_MS) and field('bad') == ARGV[3] then return 0 end
redis.call('HSET', key, 'token', ARGV[2], 'expires_at', in_ms(ARGV[4]), 'refresh_at', in_ms(ARGV[5]))
redis.call('HDEL', key, 'failed', 'failed_until')
keep()
return 1
