-- ARGV: the encrypted token as it was read; its hash and what WeChat said of it, or '' twice. A newer one stays.
-- Returns whether it was dropped.
-- include access_token
if field('token') ~= ARGV[1] then return 0 end
redis.call('HDEL', key, 'token', 'expires_at', 'refresh_at')
if ARGV[2] ~= '' then
  redis.call('HSET', key, 'bad', ARGV[2], 'bad_as', ARGV[3], 'bad_until', in_ms(BAD_MS))
  keep()
end
return 1
