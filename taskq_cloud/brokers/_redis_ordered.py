"""The Lua scripts of the Redis broker for ordered queues, whose names end in ``.fifo``: see ``_redis_scripts``.

An ordered queue has these further parts; ``delayed`` and ``leased`` hold messages as there, but a member of ``delayed``
is an id.

=================  =======  ==========================================================================================
part               type     content
=================  =======  ==========================================================================================
``last``           number   the number of the last message
``groups``         hash     message id -> its group
``counts``         hash     message id -> how often it was received
``group:GROUP``    zset     the messages of a group, by their numbers
``in_flight``      hash     group -> how many of its messages are leased
``heads``          zset     the groups of which messages can be received, by the number of their first message
``blocked``        zset     the groups whose first message is held back, by the time until then
``seen``           zset     deduplication ids, by the time at which they were seen
``seen_ids``       hash     deduplication id -> the id of its message
=================  =======  ==========================================================================================

A group with a message in flight is neither in ``heads`` nor in ``blocked``. A message stays in its group while it is
leased, so a released message comes again before those that follow it.
"""

from __future__ import annotations

from typing import Final

from taskq_cloud.brokers._redis_scripts import PRELUDE, TELL_NEXT

_GROUPS: Final = """
local function refresh(key, group)
  redis.call('ZREM', key .. 'heads', group)
  redis.call('ZREM', key .. 'blocked', group)
  if redis.call('HEXISTS', key .. 'in_flight', group) == 1 then return end
  local head = redis.call('ZRANGE', key .. 'group:' .. group, 0, 0, 'WITHSCORES')
  if not head[1] then return end
  local due = tonumber(redis.call('ZSCORE', key .. 'delayed', head[1]) or 0)
  if due > now then
    local earliest = first(key .. 'blocked')
    redis.call('ZADD', key .. 'blocked', number(due), group)
    if not earliest or due < earliest then wake(key) end
  else
    -- The message stays ready, also if the clock is set back.
    redis.call('ZREM', key .. 'delayed', head[1])
    redis.call('ZADD', key .. 'heads', head[2], group)
    wake(key)
  end
end
local function add(key, id, group, content)
  redis.call('HSET', key .. 'messages', id, number(now) .. '\\n' .. content)
  redis.call('HSET', key .. 'groups', id, group)
  redis.call('ZADD', key .. 'group:' .. group, redis.call('INCR', key .. 'last'), id)
end
local function remove(key, group, id)
  redis.call('ZREM', key .. 'group:' .. group, id)
  for _, part in ipairs({'messages', 'groups', 'counts'}) do redis.call('HDEL', key .. part, id) end
end
local function land(key, group)
  if redis.call('HINCRBY', key .. 'in_flight', group, -1) <= 0 then redis.call('HDEL', key .. 'in_flight', group) end
end
"""

# Arguments: now, how long deduplication ids are remembered, and for each message its id, its delay, its content, its
# group and its deduplication id, which may be empty. Answer: the ids of the messages, one of which may be an earlier
# one's.
SEND: Final = (
    PRELUDE
    + _GROUPS
    + """
local answer, touched, window = {}, {}, now - ARGV[2]
local old = redis.call('ZRANGEBYSCORE', base .. 'seen', '-inf', number(window), 'LIMIT', 0, 20 + #ARGV)
if #old > 0 then
  redis.call('ZREM', base .. 'seen', unpack(old))
  redis.call('HDEL', base .. 'seen_ids', unpack(old))
end
for i = 3, #ARGV, 5 do
  local id, delay, content, group, seen = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local known = redis.call('HEXISTS', base .. 'messages', id) == 1
  if seen ~= '' and not known then
    local seen_at = tonumber(redis.call('ZSCORE', base .. 'seen', seen) or '-inf')
    if seen_at > window then
      id, known = redis.call('HGET', base .. 'seen_ids', seen), true
    else
      redis.call('ZADD', base .. 'seen', number(now), seen)
      redis.call('HSET', base .. 'seen_ids', seen, id)
    end
  end
  if not known then
    add(base, id, group, content)
    if delay > 0 then redis.call('ZADD', base .. 'delayed', number(now + delay), id) end
    touched[group] = true
  end
  answer[#answer + 1] = id
end
for group in pairs(touched) do refresh(base, group) end
return answer
"""
)

RECEIVE: Final = (
    PRELUDE
    + TELL_NEXT
    + _GROUPS
    + """
local limit, lease, token, most = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
redis.call('DEL', base .. 'wake')
local touched = {}
for _, receipt in ipairs(redis.call('ZRANGEBYSCORE', base .. 'leased', '-inf', number(now), 'LIMIT', 0, most)) do
  redis.call('ZREM', base .. 'leased', receipt)
  local group = redis.call('HGET', base .. 'groups', string.match(receipt, '^[^:]*'))
  land(base, group)
  touched[group] = true
end
for _, group in ipairs(redis.call('ZRANGEBYSCORE', base .. 'blocked', '-inf', number(now), 'LIMIT', 0, most)) do
  touched[group] = true
end
for group in pairs(touched) do refresh(base, group) end
local found = {}
for _, group in ipairs(redis.call('ZRANGE', base .. 'heads', 0, limit - 1)) do
  local members = redis.call('ZRANGE', base .. 'group:' .. group, 0, limit - 1, 'WITHSCORES')
  for i = 1, #members, 2 do
    local due = tonumber(redis.call('ZSCORE', base .. 'delayed', members[i]) or 0)
    if due > now then break end
    found[#found + 1] = {tonumber(members[i + 1]), members[i], group}
  end
end
table.sort(found, function(one, other) return one[1] < other[1] end)
local answer, taken = {-1}, {}
for i = 1, math.min(limit, #found) do
  local id, group = found[i][2], found[i][3]
  local content = redis.call('HGET', base .. 'messages', id)
  redis.call('ZREM', base .. 'delayed', id)
  taken[group] = true
  if content then
    local receipt = id .. ':' .. redis.call('HINCRBY', base .. 'counts', id, 1) .. ':' .. token
    redis.call('ZADD', base .. 'leased', number(now + lease), receipt)
    redis.call('HINCRBY', base .. 'in_flight', group, 1)
    answer[#answer + 1] = receipt
    answer[#answer + 1] = content
  else
    remove(base, group, id)
  end
end
for group in pairs(taken) do refresh(base, group) end
tell_next(answer, #found, 'heads', 'blocked')
return answer
"""
)

SETTLE: Final = (
    PRELUDE
    + _GROUPS
    + """
local touched, dead_groups = {}, {}
for i = 2, #ARGV, 3 do
  local kind, receipt = ARGV[i], ARGV[i + 1]
  if redis.call('ZREM', base .. 'leased', receipt) == 1 then
    local id = string.match(receipt, '^[^:]*')
    local group = redis.call('HGET', base .. 'groups', id)
    land(base, group)
    touched[group] = true
    if kind == 'r' or kind == 't' then
      if kind == 't' then redis.call('HINCRBY', base .. 'counts', id, -1) end
      local after = tonumber(ARGV[i + 2])
      if after > 0 then redis.call('ZADD', base .. 'delayed', number(now + after), id) end
    else
      if kind == 'd' then
        local content = redis.call('HGET', base .. 'messages', id)
        if content then
          local _, head = string.find(content, '\\n.-\\n')
          add(KEYS[2], id, group, ARGV[i + 2] .. '\\n' .. string.sub(content, head + 1))
          dead_groups[group] = true
        end
      end
      remove(base, group, id)
    end
  end
end
for group in pairs(touched) do refresh(base, group) end
for group in pairs(dead_groups) do refresh(KEYS[2], group) end
return redis.status_reply('OK')
"""
)

PURGE: Final = (
    PRELUDE
    + """
local count = redis.call('HLEN', base .. 'messages')
for _, group in ipairs(redis.call('HVALS', base .. 'groups')) do redis.call('UNLINK', base .. 'group:' .. group) end
for _, part in ipairs({'messages', 'groups', 'counts', 'delayed', 'leased', 'in_flight', 'heads', 'blocked', 'wake'}) do
  redis.call('UNLINK', base .. part)
end
return count
"""
)
