"""Bytes of the pictures that came with requests and still wait to be prepared, by owner.

Counted from before they are stored until their request has been prepared or has ended, which the
scripts of those changes say (app/core/requests/scripts.py). The sum is kept beside the entries;
when it would be too large, the records decide: an entry whose request has expired, was lost or is
further on does not count. Stores no picture.
"""

from __future__ import annotations

import time

from redis import Redis

from app.core.errors import QuotaExceeded, RateLimited

_RETRY_AFTER_S = 5
"""Preparing takes milliseconds once its turn has come; what holds a turn up takes seconds."""

RELEASE_SOURCE = """
local function release_source(owner, id)
  local key = 'sources:' .. owner
  local entry = redis.call('HGET', key, id)
  if not entry then return end
  redis.call('HDEL', key, id)
  local bytes = tonumber(string.match(entry, '^%d+'))
  local total = redis.call('HINCRBY', key, 'total', 0 - bytes)  -- Redis does not know -0
  if total <= 0 then redis.call('DEL', key) end
end
"""

# KEYS[1] = the owner's sources (hash: id -> `bytes since`, `total`, `counted_at`). ARGV = now,
# expires_at, quota, id, bytes, seconds for which an entry counts although there is no record yet.
# Returns -1, or the bytes that the owner would have. Counts all at most once a second, for that
# looks at every record.
_HOLD = """
local key, now, bytes = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[5])
if redis.call('HEXISTS', key, ARGV[4]) == 1 then return -1 end  -- asked twice by the library
local function counts(id, since)
  local about = redis.call('HMGET', 'req:' .. id, 'status', 'stage')
  if not about[1] then return now - since < tonumber(ARGV[6]) end
  return about[1] == 'QUEUED' and about[2] == '1'
end
local function counted()
  local total, all = 0, redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local held, since = string.match(all[i + 1], '^(%d+) (.+)$')
    if held and counts(all[i], tonumber(since)) then total = total + tonumber(held)
    elseif held then redis.call('HDEL', key, all[i]) end
  end
  redis.call('HSET', key, 'total', total, 'counted_at', ARGV[1])
  return total
end
local would_be = tonumber(redis.call('HGET', key, 'total') or 0) + bytes
local counted_at = tonumber(redis.call('HGET', key, 'counted_at') or 0)
if would_be > tonumber(ARGV[3]) and now - counted_at >= 1 then would_be = counted() + bytes end
if would_be > tonumber(ARGV[3]) then return would_be end
redis.call('HSET', key, ARGV[4], ARGV[5] .. ' ' .. ARGV[1], 'total', would_be)
redis.call('EXPIREAT', key, ARGV[2])
return -1
"""

_RELEASE = RELEASE_SOURCE + "release_source(ARGV[1], ARGV[2])"


class Sources:
    def __init__(self, redis: Redis, quota_bytes: int, submission_s: float = 60) -> None:
        """submission_s: how long a picture may be stored before its record is made."""
        self._quota_bytes = quota_bytes
        self._submission_s = submission_s
        self._hold = redis.register_script(_HOLD)
        self._release = redis.register_script(_RELEASE)

    def hold(self, owner: str, request_id: str, size: int, expires_at: float) -> None:
        """Count the picture of a request that is about to be submitted, of `size` bytes.

        Raises RateLimited (429) when the owner would have too much, QuotaExceeded (413) when this
        one alone is more than an owner may have.
        """
        if size > self._quota_bytes:
            raise QuotaExceeded(
                f"image: {size} bytes; at most {self._quota_bytes} may be sent with a request here"
            )
        would_be = self._hold(
            keys=[f"sources:{owner}"],
            args=[
                repr(time.time()),
                *(int(expires_at), self._quota_bytes, request_id, size, self._submission_s),
            ],
        )
        if would_be >= 0:
            raise RateLimited(
                f"The pictures of your waiting requests would hold {would_be} bytes with this one; "
                f"at most {self._quota_bytes} are allowed. Please try again in {_RETRY_AFTER_S} s",
                {"retry-after": str(_RETRY_AFTER_S)},
            )

    def release(self, owner: str, request_id: str) -> None:
        """Of a request that was not made after all."""
        self._release(args=[owner, request_id])
