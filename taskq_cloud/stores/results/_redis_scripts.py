"""The Lua scripts of ``redis``: each decides and writes in one step, which nothing can come between.

A script gets the time as a text, in microseconds, or an empty text for the server's own time. Times are whole
microseconds and milliseconds, as Lua counts exactly only up to 2^53, and are written by ``%.0f``, as Lua's own way
keeps 14 digits of a number. No script reads a document as JSON, which would round its numbers: they compare its
beginning, and leave the rest to the caller.

Source: Redis' "Scripting with Lua" and the pages of the commands. PEXPIRETIME needs Redis 7.0. A save or a join calls
it only where the store has a clock of its own, as in tests.
"""

from __future__ import annotations

from typing import Final

_NOW: Final = """
local function now_of(given)
    if given ~= '' then return tonumber(given) end
    local time = redis.call('TIME')
    return time[1] * 1000000 + time[2]
end
"""

_WRITE: Final = """
local function write(key, value, expires)
    redis.call('SET', key, value)
    if expires ~= '' then redis.call('PEXPIREAT', key, expires) end
end
"""

LOAD: Final = """
-- KEYS: the document and the companion of each record. The answer has three values for each record: the document, the
-- companion, and the time at which the document expires, in milliseconds.
local found = {}
for i = 1, #KEYS, 2 do
    local document = redis.call('GET', KEYS[i])
    local companion, expires = false, -1
    if document then
        companion = redis.call('GET', KEYS[i + 1])
        expires = redis.pcall('PEXPIRETIME', KEYS[i])
        if type(expires) == 'table' then expires = -1 end  -- Redis before 7.0
    end
    found[#found + 1] = document
    found[#found + 1] = companion
    found[#found + 1] = expires
end
return found
"""
"""Reads records."""

SAVE: Final = f"""
-- KEYS: the document and the companion of each record. ARGV: the time, and six values for each record: the document,
-- the companion, the version, the fence, the time at which the record expires in milliseconds, and the digest of the
-- stored document that the caller has decided to replace. The answer for a record is 1 if it was written, 0 if the
-- stored one stays, and the stored document if the caller has to decide.
{_WRITE}
local final = {{SUCCESS = true, FAILURE = true, REVOKED = true}}

local function has_expired(key)
    if ARGV[1] == '' then return false end
    local expires = redis.call('PEXPIRETIME', key)
    return expires > 0 and expires * 1000 <= tonumber(ARGV[1])
end

local function decide(key, companion, version, fence, seen)
    local state = string.match(redis.call('GETRANGE', key, 0, 63), '^{{"status": ?"(%u+)"')
    if final[state] then return has_expired(key) and 1 or 0 end
    local stored = redis.call('GET', key)
    if not stored or has_expired(key) then return 1 end
    local digest = redis.sha1hex(stored)
    if digest == seen then return 1 end
    local kept = redis.call('GET', companion)
    local of, last_version, last_fence = string.match(kept or '', '^(%x+) (%d+) (%d+) ')
    if of ~= digest then return stored end  -- Celery has written the document
    last_version = tonumber(last_version)
    local later = last_version < 2147483647 and last_version <= tonumber(version)
    return later and tonumber(last_fence) <= tonumber(fence) and 1 or 0
end

local answers = {{}}
for i = 1, #KEYS, 2 do
    local key, companion, given = KEYS[i], KEYS[i + 1], 2 + (i - 1) * 3
    local document, new_companion, expires = ARGV[given], ARGV[given + 1], ARGV[given + 4]
    local answer = decide(key, companion, ARGV[given + 2], ARGV[given + 3], ARGV[given + 5])
    if answer == 1 then
        -- The write comes first: a server whose memory is full lets a script go on once it has removed something.
        write(key, document, expires)
        if new_companion == '' then
            redis.call('DEL', companion)
        else
            write(companion, new_companion, expires)
        end
        redis.call('PUBLISH', key, document)
    end
    answers[#answers + 1] = answer
end
return answers
"""
"""Writes records by the rule of ``records.may_replace``, and tells those who wait, as Celery does."""

JOIN: Final = """
-- KEYS: the join, a bit for each member. ARGV: the time, the member, the number of all members, and the time at which
-- the join expires, in milliseconds. The answer is 1 if all members have arrived.
if ARGV[1] ~= '' then
    local expires = redis.call('PEXPIRETIME', KEYS[1])
    if expires > 0 and expires * 1000 <= tonumber(ARGV[1]) then redis.call('DEL', KEYS[1]) end
end
redis.call('SETBIT', KEYS[1], ARGV[2], 1)
local arrived = redis.call('BITCOUNT', KEYS[1])
if ARGV[4] == '' then
    redis.call('PERSIST', KEYS[1])
else
    redis.call('PEXPIREAT', KEYS[1], ARGV[4])
end
return arrived >= tonumber(ARGV[3]) and 1 or 0
"""
"""Counts a member of a join."""

CLAIM: Final = f"""
-- KEYS: the lock. ARGV: the time, the owner, how long the lock lasts, and how long it is remembered after that, both in
-- microseconds. The answer is the fencing number, or none.
{_NOW}
local now, ttl = now_of(ARGV[1]), tonumber(ARGV[3])
local held = redis.call('HMGET', KEYS[1], 'owner', 'fence', 'lapses_at')
local fence = tonumber(held[2] or 0)
if held[3] and tonumber(held[3]) > now then
    if held[1] ~= ARGV[2] then return false end
elseif ttl <= 0 then
    return false
else
    fence = fence + 1
end
local lapses = now + ttl
redis.call('HSET', KEYS[1], 'owner', ARGV[2], 'fence', fence, 'lapses_at', string.format('%.0f', lapses))
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.ceil((lapses + tonumber(ARGV[4])) / 1000)))
return fence
"""
"""Takes, renews or gives up a lock by the rule of ``records.claimed``."""

RESERVE: Final = f"""
-- KEYS: the next slot. ARGV: the time, the interval, the credit, and how far ahead a slot may lie, in microseconds. The
-- answer is the slot, or none.
{_NOW}{_WRITE}
local now, interval, credit = now_of(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local slot, following = now - credit, redis.call('GET', KEYS[1])
if following then
    following = tonumber(following)
    if following > now + tonumber(ARGV[4]) then return false end
    slot = math.max(slot, following)
end
following = slot + interval
-- Once the following slot is older than the credit, the next slot is the same without it.
local spent = string.format('%.0f', math.ceil((following + credit) / 1000) + 1)
write(KEYS[1], string.format('%.0f', following), spent)
return slot
"""
"""Takes a slot by the rule of ``rates.take_slot``."""
