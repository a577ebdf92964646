-- What the requests of an account (`KEY OWNER`) used, by the day in UTC on which they ended. A day
-- is a hash: account -> its sums as JSON (app/core/accounts/usage.py). A sum is a whole number as
-- text, because cjson writes numbers with 14 digits.

local USAGE_KEPT_S = 400 * 86400
local ACCOUNT_KEPT_S = 7 * 86400  -- after the record has expired; an outage may be that long

-- Rounded as app/core/accounts/credits.py rounds amounts, and before it is added: the rounding of a
-- sum would depend on the others.
local function whole(number) return tonumber(string.format('%.0f', number)) end

-- Adds to the sums of an account. used: name -> whole number.
local function add_usage(now, account, used)
  local day = usage_key(math.floor(now / 86400))
  local sums = cjson.decode(redis.call('HGET', day, account) or '{}')
  for name, number in pairs(used) do
    sums[name] = string.format('%.0f', (sums[name] or 0) + number)
  end
  redis.call('HSET', day, account, cjson.encode(sums))
  redis.call('EXPIRE', day, USAGE_KEPT_S)
end

-- The bucket of a duration: the nearest power of 1.25, from 0.01 s on.
local function bucket(seconds)
  local power = math.floor(math.log(math.max(seconds, 0.01)) / math.log(1.25) + 0.5)
  return string.format('queue %.4g', 1.25 ^ power)
end

-- Keeps the account of a request for the case that its record expires before it ends.
local function keep_account(id, key, owner, expires_at)
  redis.call('SET', usage_account_key(id), key .. ' ' .. owner, 'EXAT',
             expires_at + ACCOUNT_KEPT_S)
end

local function drop_account(id) redis.call('DEL', usage_account_key(id)) end

-- Seconds in the model; of a request that ended while it was generated, those that were saved.
local function gpu_seconds(inference_s, saved)
  return tonumber(inference_s or saved and cjson.decode(saved).seconds) or 0
end

-- Counts a request that ends, from its record.
local function use(now, record, id, outcome)
  local about = redis.call('HMGET', record, 'key', 'owner', 'created_at', 'started_at',
                           'inference_s', 'kept', 'work', 'cost', 'outputs')
  local used = {requests = 1, [outcome] = 1, gpu_us = whole(gpu_seconds(about[5], about[6]) * 1e6)}
  if about[4] then used[bucket(about[4] - about[3])] = 1 end
  if outcome == 'completed' then
    used.work = whole((tonumber(about[7]) or 0) * 1e9)
    used.credits = tonumber(about[8]) or 0
    used.pictures = about[9] and #cjson.decode(about[9]) or 0
  end
  add_usage(now, (about[1] or '') .. ' ' .. (about[2] or ''), used)
  drop_account(id)
end

-- Counts a request whose record expired before it ended. Older versions kept no account.
local function use_expired(now, id)
  local account = redis.call('GET', usage_account_key(id))
  if not account then return end
  add_usage(now, account, {requests = 1, failed = 1})
  drop_account(id)
end
