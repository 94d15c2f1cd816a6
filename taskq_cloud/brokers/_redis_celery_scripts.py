"""The Lua scripts of Celery's layout on Redis: each moves messages between lists and ``unacked`` in one step.

kombu keeps a message that is being worked on in the hash ``unacked``, under a tag, as ``[message, exchange, routing
key]``. The sorted set ``unacked_index`` has the tag's time. Once that lies ``visibility_timeout`` in the past, any
consumer puts the message back. The scripts keep to this, with tags of our own::

    taskq.<kind>.<token>.<number>.<queue>

The kind is ``l`` for a lease, ``r`` for a message that was given back, and ``d`` for one that is held back and on which
nobody has worked. The time is set so that it lies ``visibility_timeout`` in the past when the lease or the delay ends.

A message that one of our workers has received begins with two members more, by which the next receiver knows the
number of receives and the message's id: ``{"taskq_receives": 1, "taskq_id": "...", "body": ...``. Scripts change only
this beginning. JSON is neither read nor written by them, as Lua would round numbers and lose empty lists.

Every script gets the time as its first argument: a text, in seconds since the epoch, or an empty text for the server's
own time; and the visibility timeout as its second. ``KEYS[1]`` is ``unacked``, ``KEYS[2]`` is ``unacked_index``.

Sources: the bytes of kombu 5.7; Redis' "Scripting with Lua". ``ZRANGE ... BYSCORE``, ``RPOP`` with a count and
``BLMOVE`` need Redis 6.2, as kombu does.
"""

from __future__ import annotations

from typing import Final

_BEGIN: Final = """
local now = tonumber(ARGV[1])
if not now then
    local time = redis.call('TIME')
    now = time[1] + time[2] / 1000000
end
local timeout = tonumber(ARGV[2])
local unacked, index = KEYS[1], KEYS[2]
"""

TAKE: Final = f"""
-- KEYS: also the queue's lists, the most urgent first. ARGV: also the seconds of the lease, the most messages, a token
-- for the tags, the queue's name, and the name as JSON.
-- The answer begins with 'over' if messages of any queue are to be put back first; a tag, a time and a message follow
-- for each. Otherwise it begins with 'taken' and the seconds until the next message is to be put back; a tag, the
-- number of receives, an id and a message follow for each.
{_BEGIN}
local over = redis.call('ZRANGE', index, '-inf', now - timeout, 'BYSCORE', 'LIMIT', 0, 100, 'WITHSCORES')
if #over > 0 then
    local found, bytes = {{'over'}}, 0
    for i = 1, #over, 2 do
        local value = redis.call('HGET', unacked, over[i])
        found[#found + 1] = over[i]
        found[#found + 1] = over[i + 1]
        found[#found + 1] = value
        bytes = bytes + (value and #value or 0)
        if bytes > 4194304 then break end
    end
    return found
end
local first = redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')
local found = {{'taken', first[2] and tostring(first[2] + timeout - now) or ''}}
local ends_at, left, number = now + tonumber(ARGV[3]) - timeout, tonumber(ARGV[4]), 0

-- The members of a message without its opening brace, its receives and its id; a text that isn't a message is wrapped.
local function opened(text, own_id)
    local receives, id, rest = string.match(text, '^{{"taskq_receives": (%d+), "taskq_id": "([^"]*)", (.*)$')
    if receives then return rest, tonumber(receives), id end
    if string.sub(text, 1, 2) == '{{"' and string.sub(text, -2) == '}}}}' then
        id = string.match(text, '.*"delivery_tag": ?"([^"\\\\]+)"')
        if id then return string.sub(text, 2), 0, id end
    end
    local is_json, document = pcall(cjson.decode, text)
    rest = string.match(text, '^%s*{{(%s*".*)$')
    if is_json and type(document) == 'table' and rest then return rest, 0, own_id end
    rest = '"taskq": {{"text": ' .. cjson.encode(text) .. '}}, "body": "", "content-encoding": "utf-8", '
        .. '"content-type": "text/plain", "headers": {{}}, "properties": {{"delivery_info": {{"exchange": "", '
        .. '"routing_key": ' .. ARGV[7] .. '}}, "delivery_tag": "' .. own_id .. '"}}}}'
    return rest, 0, own_id
end

for i = 3, #KEYS do
    local texts = left > number and redis.call('RPOP', KEYS[i], left - number)
    for _, text in ipairs(texts or {{}}) do
        number = number + 1
        local rest, receives, id = opened(text, ARGV[5] .. '-' .. number)
        receives = string.format('%d', receives + 1)
        local tag = 'taskq.l.' .. ARGV[5] .. '.' .. number .. '.' .. ARGV[6]
        redis.call('ZADD', index, ends_at, tag)
        redis.call('HSET', unacked, tag, '[{{"taskq_receives": ' .. receives .. ', "taskq_id": "' .. id .. '", ' .. rest
            .. ', "", ' .. ARGV[7] .. ']')
        found[#found + 1] = tag
        found[#found + 1] = receives
        found[#found + 1] = id
        found[#found + 1] = '{{' .. rest
    end
end
return found
"""
"""Leases messages of a queue."""

SEND: Final = f"""
-- KEYS: also a list for each message that is not held back. ARGV: also three values for each message: the seconds for
-- which it is held back, the tag under which unacked has it (otherwise an empty text), and the item.
{_BEGIN}
local list = 2
for i = 3, #ARGV, 3 do
    if ARGV[i + 1] == '' then
        list = list + 1
        redis.call('LPUSH', KEYS[list], ARGV[i + 2])
    else
        redis.call('ZADD', index, now + tonumber(ARGV[i]) - timeout, ARGV[i + 1])
        redis.call('HSET', unacked, ARGV[i + 1], ARGV[i + 2])
    end
end
return redis.status_reply('OK')
"""
"""Sends messages."""

COMMAND: Final = """
-- KEYS: a key. ARGV: a command, and what follows the key in it.
return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))
"""
"""One command. As a script, it is repeated when the server can't take it for a moment."""

BIND: Final = """
-- KEYS: the tables of bindings. ARGV: the binding.
for _, key in ipairs(KEYS) do redis.call('SADD', key, ARGV[1]) end
return redis.status_reply('OK')
"""
"""Declares a queue."""

SETTLE: Final = f"""
-- KEYS: also the list of each dead letter. ARGV: also five values for each delivery: what is done, its tag, the seconds
-- until it comes back, its next tag or the text of the dead letter, and '1' if its receive doesn't count.
-- The answer has a tag, a time and a message for each that is to be put back at once.
{_BEGIN}
local list, found = 2, {{}}
for i = 3, #ARGV, 5 do
    local what, tag, next_one = ARGV[i], ARGV[i + 1], ARGV[i + 3]
    local value = what == 'release' and redis.call('HGET', unacked, tag)
    local was_there = redis.call('HDEL', unacked, tag) == 1
    if was_there then redis.call('ZREM', index, tag) end
    if what == 'dead' then
        list = list + 1
        if was_there then redis.call('LPUSH', KEYS[list], next_one) end
    elseif value then
        if ARGV[i + 4] == '1' then
            local receives, rest = string.match(value, '^%[{{"taskq_receives": (%d+)(.*)$')
            if receives then
                value = '[{{"taskq_receives": ' .. string.format('%d', math.max(receives - 1, 0)) .. rest
            end
        end
        local seconds = tonumber(ARGV[i + 2])
        redis.call('ZADD', index, now + seconds - timeout, next_one)
        redis.call('HSET', unacked, next_one, value)
        if seconds <= 0 then
            found[#found + 1] = next_one
            found[#found + 1] = redis.call('ZSCORE', index, next_one)
            found[#found + 1] = value
        end
    end
end
return found
"""
"""Settles deliveries; a tag that is no longer there settles nothing."""

EXTEND: Final = f"""
-- ARGV: also the seconds of the lease, and a tag for each delivery. The answer has 1 for each lease that goes on, and 0
-- for each that was over.
{_BEGIN}
local kept = {{}}
for i = 4, #ARGV do
    local score = redis.call('ZSCORE', index, ARGV[i])
    if score and score + timeout > now then
        redis.call('ZADD', index, now + tonumber(ARGV[3]) - timeout, ARGV[i])
        kept[#kept + 1] = 1
    else
        kept[#kept + 1] = 0
    end
end
return kept
"""
"""Extends leases."""

PUT_BACK: Final = f"""
-- KEYS: also the lists of each message, in order. ARGV: also four values for each message: its tag and its time as they
-- were found, the number of its lists, and its text. Without a list, it is looked at again after the timeout; without a
-- text, only its tag is removed. A message whose time has changed has another holder, and is left alone.
{_BEGIN}
local list = 2
for i = 3, #ARGV, 4 do
    local tag, lists, text = ARGV[i], tonumber(ARGV[i + 2]), ARGV[i + 3]
    if redis.call('ZSCORE', index, tag) == ARGV[i + 1] then
        if text ~= '' and lists == 0 then
            redis.call('ZADD', index, now, tag)
        else
            redis.call('ZREM', index, tag)
            redis.call('HDEL', unacked, tag)
            for each = 1, lists do redis.call('RPUSH', KEYS[list + each], text) end
        end
    end
    list = list + lists
end
return redis.status_reply('OK')
"""
"""Puts messages back into their lists, at the end that is received next, where kombu puts them."""

_OF_QUEUE: Final = """
-- The kind of a tag if its message is of the queue; a tag of Celery's is of kind 'c'.
local function kind_in(queue, as_json, tag)
    local kind, name = string.match(tag, '^taskq%.(%a)%.[^.]*%.[^.]*%.(.*)$')
    if kind then return name == queue and kind or nil end
    local ending = ', ' .. as_json .. ']'
    local value = redis.call('HGET', unacked, tag)
    return value and string.sub(value, -#ending) == ending and 'c' or nil
end
"""

DEPTH: Final = f"""
-- KEYS: also the queue's lists. ARGV: also the queue's name, and the name as JSON.
-- The answer has the numbers of messages that wait, are held back, and are being worked on.
{_BEGIN}
{_OF_QUEUE}
local waiting, delayed, in_flight = 0, 0, 0
for i = 3, #KEYS do waiting = waiting + redis.call('LLEN', KEYS[i]) end
local tags = redis.call('ZRANGE', index, 0, -1, 'WITHSCORES')
for i = 1, #tags, 2 do
    local kind = kind_in(ARGV[3], ARGV[4], tags[i])
    if kind and tags[i + 1] + timeout <= now then
        waiting = waiting + 1
    elseif kind == 'l' or kind == 'c' then
        in_flight = in_flight + 1
    elseif kind then
        delayed = delayed + 1
    end
end
return {{waiting, delayed, in_flight}}
"""
"""Counts the messages of a queue."""

PURGE: Final = f"""
-- KEYS: also the queue's lists. ARGV: also the queue's name, and the name as JSON.
-- The answer is the number of messages that are removed.
{_BEGIN}
{_OF_QUEUE}
local count = 0
for i = 3, #KEYS do
    count = count + redis.call('LLEN', KEYS[i])
    redis.call('DEL', KEYS[i])
end
for _, tag in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    if kind_in(ARGV[3], ARGV[4], tag) then
        redis.call('ZREM', index, tag)
        redis.call('HDEL', unacked, tag)
        count = count + 1
    end
end
return count
"""
"""Removes the messages of a queue."""

HELD: Final = f"""
-- ARGV: also the time and the tag of the last message of the page before, the most messages, and the queues' names.
-- The answer has a tag, the time at which it is due, and a message for each that is held back, in that order.
{_BEGIN}
local wanted, found = {{}}, {{}}
for i = 6, #ARGV do wanted[ARGV[i]] = true end
local after, last, most = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local begin = math.max(now, after) - timeout
local tags = redis.call('ZRANGE', index, begin, '+inf', 'BYSCORE', 'WITHSCORES')
for i = 1, #tags, 2 do
    local tag, due = tags[i], tags[i + 1] + timeout
    local kind, queue = string.match(tag, '^taskq%.([dr])%.[^.]*%.[^.]*%.(.*)$')
    if kind and wanted[queue] and due > now and (due > after or (due == after and tag > last)) then
        found[#found + 1] = tag
        found[#found + 1] = string.format('%.17g', due)
        found[#found + 1] = redis.call('HGET', unacked, tag)
        if #found >= most * 3 then break end
    end
end
return found
"""
"""Lists the messages that are held back."""
