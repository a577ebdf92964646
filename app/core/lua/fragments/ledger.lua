-- The ledger of budgets. Amounts are whole billionths of a credit, below 2^53.

local function reservation(id)
  local entry = redis.call('HGET', RESERVATIONS, id)
  if entry then return string.match(entry, '^(%d+) (.*)$') end
end

local function note_reservation(id, amount, key)
  redis.call('HSET', RESERVATIONS, id, amount .. ' ' .. key)
end

local function drop_reservation(id)
  redis.call('HDEL', RESERVATIONS, id)
  redis.call('ZREM', RESERVATION_EXPIRIES, id)
end

-- Adds to the balance of a key that has a budget; amount may be negative.
local function add(key, amount)
  if amount ~= 0 and redis.call('HEXISTS', BALANCES, key) == 1 then
    redis.call('HINCRBY', BALANCES, key, string.format('%.0f', amount))
  end
end

-- Returns the balance when it is too small; nothing when the amount is reserved or the key has no
-- budget.
local function reserve(id, key, amount, expires_at)
  local balance = redis.call('HGET', BALANCES, key)
  if not balance then return end
  if tonumber(balance) < tonumber(amount) then return balance end
  add(key, -tonumber(amount))
  note_reservation(id, amount, key)
  redis.call('ZADD', RESERVATION_EXPIRIES, expires_at, id)
end

-- Changes the amount of a reservation. Returns the most that could be reserved when that is too
-- little.
local function reserve_instead(id, amount)
  local reserved, key = reservation(id)
  if not reserved then return end
  local balance = redis.call('HGET', BALANCES, key)
  local more = tonumber(amount) - tonumber(reserved)
  if balance and tonumber(balance) < more then
    return string.format('%.0f', tonumber(balance) + tonumber(reserved))
  end
  add(key, -more)
  note_reservation(id, amount, key)
end

local function give_back(id)
  local amount, key = reservation(id)
  if not amount then return end
  drop_reservation(id)
  add(key, tonumber(amount))
end

-- Spends what was reserved. Returns the balance afterwards; nothing when the key has no budget.
local function spend(id, key, cost)
  redis.call('HINCRBY', SPENT, key, cost)
  if not reservation(id) then return end
  drop_reservation(id)
  return redis.call('HGET', BALANCES, key)
end
