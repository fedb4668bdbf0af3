-- ARGV: owner, the failure. A token that is there still is refreshed later.
-- Returns whether it was recorded: not so without the lease.
-- include access_token
local NEXT_TRY_MS = 10000
if not holds_lease(ARGV[1]) then return 0 end
release_lease()
redis.call('HSET', key, 'failed', ARGV[2], 'failed_until', in_ms(FAILURE_MS))
redis.call('HSET', key, 'refresh_at', in_ms(NEXT_TRY_MS))
keep()
return 1
