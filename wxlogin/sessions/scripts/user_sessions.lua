-- What every script on a user's sessions begins with. KEYS[1] is the user's hash: what is not a hash is not ours.
-- KEYS[2], where it is given, holds the session that the user's last login replaced.
local kind = redis.call('TYPE', KEYS[1])
local is_hash = (kind.ok or kind) == 'hash'

local function number_in(value, first, last)
  local number = 0
  for i = first, last do number = number * 256 + string.byte(value, i) end
  return number
end

-- Delete the sessions that have expired; return the others.
local function prune()
  local now, alive = tonumber(redis.call('TIME')[1]), {}
  local records = redis.call('HGETALL', KEYS[1])
  for i = 1, #records, 2 do
    local field, value = records[i], records[i + 1]
    local expires_at = #value < 10 and 0 or number_in(value, 1, 4)
    if expires_at <= now then
      redis.call('HDEL', KEYS[1], field)
    else
      alive[#alive + 1] = {field = field, expires_at = expires_at, created_at = number_in(value, 5, 10)}
    end
  end
  return alive
end

-- Let the key live as long as the longest of these sessions.
local function expire_with(alive)
  local latest = 0
  for _, session in ipairs(alive) do latest = math.max(latest, session.expires_at) end
  if latest > 0 then redis.call('EXPIREAT', KEYS[1], latest) end
end
