-- KEYS[1]: the code. ARGV: our claim, for how many milliseconds it lasts, when it was sent (Redis's time, ms).
-- A transient outcome is for those only who waited for it: who comes later claims the code again.
-- Returns what stands there afterwards, our claim or the outcome or another's claim, and Redis's time; false in the
-- first place if the claim came so late (a Redis that was frozen finds such) that nobody waits for it any more.
local MAX_DELAY_MS = 1000
local TRANSIENT = 'f'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local value = redis.call('GET', KEYS[1])
if value and string.sub(value, 1, 1) ~= TRANSIENT then return {value, now} end
if now - ARGV[3] > MAX_DELAY_MS then return {false, now} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {ARGV[1], now}
