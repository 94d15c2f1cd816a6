"""The keys of the Redis broker, and the Lua scripts that change them; ``redis`` decides when to run which.

A script is atomic: no other command runs between its commands, and after a crash of the server either all of its
changes are there or none (https://redis.io/docs/latest/develop/programmability/eval-intro/). Every script has one key,
the base of a queue's keys, to which the parts below are added. The base holds the queue's name in braces, so that all
keys of a queue, and of its dead-letter queue, would be on one node of a cluster.

==============  =======  =============================================================================================
part            type     content
==============  =======  =============================================================================================
``messages``    hash     message id -> time of sending, a line of JSON, the body
``ready``       list     the messages that can be received, the next one first
``delayed``     zset     the messages that are held back, by the time until then
``leased``      zset     the messages in flight, by the end of their lease
``wake``        list     one element if there may be something to receive, for receivers that wait (BLPOP)
==============  =======  =============================================================================================

A member of ``ready`` and ``delayed`` is ``id:count``: how often the message was received. A member of ``leased`` is
``id:count:token``, the receipt of the delivery, so that only its holder can settle it. Lists are used, and not streams:
a stream's entry can't go to its end again when it is released, has one idle time for a lease of any length, and
counts each receive.

Times are whole microseconds since the epoch, which a zset's score holds exactly. They are the server's own, so that
the clocks of workers don't matter, unless the first argument says another time.

A message in ``ready`` that nobody waits for leaves one element in ``wake``. The receiver that takes it leaves another
one if there is more to receive, or something soon to become ready, so that one of the other receivers knows of it.

A server whose memory is full refuses a script at its first command if that may need memory. The scripts of receivers
begin with one that needs none (DEL, ZREM), so that workers can still empty a queue. A server that is set to evict keys
may lose the hash of the messages alone; then their other parts are removed as they are met.
"""

from __future__ import annotations

from typing import Final

NEAR_SECONDS: Final = 20
"""A message that is held back for less is one that another receiver should wait for."""

MOVED_AT_ONCE: Final = 1000
"""How many messages one receive makes ready when their delay or lease is over, so that one receive doesn't pay for all
of a large number."""

PRELUDE: Final = """
local base = KEYS[1]
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local function number(value) return string.format('%.0f', value) end
local function wake(key)
  if redis.call('EXISTS', key .. 'wake') == 0 then redis.call('RPUSH', key .. 'wake', '1') end
end
local function first(key)
  local found = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return found[2] and tonumber(found[2])
end
"""

# Arguments: now, and for each message its id, its delay, and its line of JSON with the body.
SEND: Final = (
    PRELUDE
    + """
local ready, earliest = {}, first(base .. 'delayed')
local informs = false
for i = 2, #ARGV, 3 do
  local id, delay = ARGV[i], tonumber(ARGV[i + 1])
  -- An id that is there already: this call was made before, and its answer was lost.
  if redis.call('HSETNX', base .. 'messages', id, number(now) .. '\\n' .. ARGV[i + 2]) == 1 then
    if delay > 0 then
      local due = now + delay
      redis.call('ZADD', base .. 'delayed', number(due), id .. ':0')
      if not earliest or due < earliest then earliest, informs = due, true end
    else
      ready[#ready + 1] = id .. ':0'
    end
  end
end
if #ready > 0 then redis.call('RPUSH', base .. 'ready', unpack(ready)) end
if #ready > 0 or informs then wake(base) end
return redis.status_reply('OK')
"""
)

# After a receive: wakes the next receiver if there is more to receive, now or in a moment. If nothing was received, the
# answer begins with the time until then. The parts are those that hold what is ready, and what is held back.
TELL_NEXT: Final = f"""
local function tell_next(answer, received, ready, held)
  local next = first(base .. held)
  if redis.call('EXISTS', base .. ready) == 1 then
    wake(base)
  elseif received == 0 then
    local lease_end = first(base .. 'leased')
    if not next or (lease_end and lease_end < next) then next = lease_end end
    if next then answer[1] = next - now end
  elseif next and next < now + {NEAR_SECONDS * 1_000_000} then
    wake(base)
  end
end
"""

# Arguments: now, the limit, the length of the lease, the token of the receipts, and how many are moved at once.
# Answer: the time until more may be ready, or -1; and for each message its receipt and its content.
RECEIVE: Final = (
    PRELUDE
    + TELL_NEXT
    + """
local limit, lease, token, most = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
redis.call('DEL', base .. 'wake')
local due = redis.call('ZRANGEBYSCORE', base .. 'delayed', '-inf', number(now), 'LIMIT', 0, most)
if #due > 0 then
  redis.call('ZREM', base .. 'delayed', unpack(due))
  redis.call('RPUSH', base .. 'ready', unpack(due))
end
local lost = redis.call('ZRANGEBYSCORE', base .. 'leased', '-inf', number(now), 'LIMIT', 0, most)
if #lost > 0 then
  redis.call('ZREM', base .. 'leased', unpack(lost))
  for i, member in ipairs(lost) do lost[i] = string.match(member, '^(.*):') end
  redis.call('RPUSH', base .. 'ready', unpack(lost))
end
local taken = redis.call('LRANGE', base .. 'ready', 0, limit - 1)
local answer = {-1}
if #taken > 0 then
  redis.call('LTRIM', base .. 'ready', #taken, -1)
  local ids, leases = {}, {}
  for i, member in ipairs(taken) do
    local id, count = string.match(member, '^(.*):(%d+)$')
    ids[i], taken[i] = id, id .. ':' .. (count + 1) .. ':' .. token
    leases[2 * i - 1], leases[2 * i] = number(now + lease), taken[i]
  end
  redis.call('ZADD', base .. 'leased', unpack(leases))
  for i, content in ipairs(redis.call('HMGET', base .. 'messages', unpack(ids))) do
    if content then
      answer[#answer + 1] = taken[i]
      answer[#answer + 1] = content
    else  -- the server has evicted it
      redis.call('ZREM', base .. 'leased', taken[i])
    end
  end
end
tell_next(answer, #taken, 'ready', 'delayed')
return answer
"""
)

# Arguments: now, and for each delivery three: a and its receipt and nothing; r or t, its receipt and the time until
# then, where t takes the receive back; d, its receipt and the new line of JSON. The dead-letter queue is KEYS[2].
SETTLE: Final = (
    PRELUDE
    + """
local gone, ready, earliest, informs = {}, {}, nil, false
for i = 2, #ARGV, 3 do
  local kind, receipt = ARGV[i], ARGV[i + 1]
  if redis.call('ZREM', base .. 'leased', receipt) == 1 then
    local id, count = string.match(receipt, '^(.*):(%d+):')
    if kind == 'a' then
      gone[#gone + 1] = id
    elseif kind == 'd' then
      local content = redis.call('HGET', base .. 'messages', id)
      if content then
        local _, head = string.find(content, '\\n.-\\n')
        local dead = number(now) .. '\\n' .. ARGV[i + 2] .. '\\n' .. string.sub(content, head + 1)
        redis.call('HSET', KEYS[2] .. 'messages', id, dead)
        redis.call('RPUSH', KEYS[2] .. 'ready', id .. ':0')
        wake(KEYS[2])
      end
      gone[#gone + 1] = id
    else
      local after = tonumber(ARGV[i + 2])
      local member = id .. ':' .. (kind == 't' and count - 1 or count)
      if after > 0 then
        local due = now + after
        earliest = earliest or first(base .. 'delayed') or math.huge
        redis.call('ZADD', base .. 'delayed', number(due), member)
        if due < earliest then earliest, informs = due, true end
      else
        ready[#ready + 1] = member
      end
    end
  end
end
if #gone > 0 then redis.call('HDEL', base .. 'messages', unpack(gone)) end
if #ready > 0 then redis.call('RPUSH', base .. 'ready', unpack(ready)) end
if #ready > 0 or informs then wake(base) end
return redis.status_reply('OK')
"""
)

# Arguments: now, the length of the lease, and receipts. Answer: 1 for each lease that was extended, 0 for a lost one.
EXTEND: Final = (
    PRELUDE
    + """
local answer = {}
for i = 3, #ARGV do
  local ends_at = tonumber(redis.call('ZSCORE', base .. 'leased', ARGV[i]) or 0)
  answer[i - 2] = 0
  if ends_at > now then
    redis.call('ZREM', base .. 'leased', ARGV[i])
    redis.call('ZADD', base .. 'leased', number(now + ARGV[2]), ARGV[i])
    answer[i - 2] = 1
  end
end
return answer
"""
)

# Answer: the number of messages that wait, that are delayed, and in flight. An ordered queue has no list of those that
# wait.
DEPTH: Final = (
    PRELUDE
    + """
local delayed = redis.call('ZCOUNT', base .. 'delayed', '(' .. number(now), '+inf')
local leased = redis.call('ZCOUNT', base .. 'leased', '(' .. number(now), '+inf')
return {redis.call('HLEN', base .. 'messages') - delayed - leased, delayed, leased}
"""
)

# Arguments: now, the time from which on, and the limit. Answer: for each message its id, its time and its content.
HELD: Final = (
    PRELUDE
    + """
local from = math.max(now + 1, tonumber(ARGV[2]))
local found = redis.call(
  'ZRANGEBYSCORE', base .. 'delayed', number(from), '+inf', 'WITHSCORES', 'LIMIT', ARGV[3], ARGV[4])
local answer = {}
for i = 1, #found, 2 do
  local id = string.match(found[i], '^[^:]*')
  answer[#answer + 1] = id
  answer[#answer + 1] = found[i + 1]
  answer[#answer + 1] = redis.call('HGET', base .. 'messages', id)
end
return answer
"""
)

# Answer: the number of messages. The server frees their memory by itself, in a thread.
PURGE: Final = (
    PRELUDE
    + """
local count = redis.call('HLEN', base .. 'messages')
for _, part in ipairs({'messages', 'ready', 'delayed', 'leased', 'wake'}) do
  redis.call('UNLINK', base .. part)
end
return count
"""
)
