-- What every script on an access token begins with. KEYS[1] is the mini-program's hash. Its times are Unix
-- milliseconds by Redis's clock.
local DAY_MS = 86400000
local KEY_MS = DAY_MS + 3600000
local FAILURE_MS = 1000      -- for so long after a failure nobody else tries
local BAD_MS = 60000         -- then a token may be tried again that WeChat called bad: WeChat may have been wrong

local key, kind, time = KEYS[1], redis.call('TYPE', KEYS[1]), redis.call('TIME')
local is_hash = (kind.ok or kind) == 'hash'
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function field(name) return is_hash and redis.call('HGET', key, name) or '' end

-- Whether a time is to come. One that is further ahead than it can be was written before the clock was set back: it
-- has passed.
local function is_ahead(name, most)
  local left = (tonumber(field(name)) or 0) - now
  return left > 0 and left <= most
end

local function in_ms(milliseconds) return string.format('%.0f', now + milliseconds) end

local function keep() redis.call('EXPIREAT', key, string.format('%.0f', math.ceil((now + KEY_MS) / 1000))) end

local function holds_lease(owner) return field('holder') == owner end

local function release_lease() redis.call('HDEL', key, 'holder', 'held_until') end
