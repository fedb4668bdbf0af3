-- ARGV: owner. Returns whether WeChat may be forced to give another token.
-- include access_token
local FORCED_A_DAY = 20
local FORCED_APART_MS = 35000  -- WeChat takes 30 seconds, by another clock
if not holds_lease(ARGV[1]) then return 0 end
if field('forced_by') == ARGV[1] then return 1 end
local times, latest = {}, 0
for text in string.gmatch(field('forced'), '%d+') do
  local at = tonumber(text)
  if now - at < DAY_MS then times[#times + 1], latest = text, math.max(latest, at) end
end
if #times >= FORCED_A_DAY or now - latest < FORCED_APART_MS then return 0 end
times[#times + 1] = in_ms(0)
redis.call('HSET', key, 'forced', table.concat(times, ' '), 'forced_by', ARGV[1])
keep()
return 1
