"""The statements of the PostgreSQL broker; ``postgresql`` decides when to execute which, and in which transactions.

Parameters that are arrays are texts, as ``array_of`` writes them: every driver passes a text on as it is, and psycopg
takes longer to write a list of texts than to do all the rest. Times are seconds since the epoch by the server's clock.
``now()`` is the begin of a transaction, and the same in all of its statements. Messages get the time at which they are
sent, since a caller's own transaction may have begun long before.

Statements never look at more rows than they change, however many messages wait; a receive is one scan of an index from
its beginning.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from taskq_cloud.brokers._postgresql_schema import Tables

_NOW: Final = "extract(epoch FROM now())::float8"
_CLOCK: Final = "extract(epoch FROM clock_timestamp())::float8"
_GIVEN: Final = "%(now)s::float8"

_RETURNED: Final = """
    sequence, lease, receive_count, coalesce(message_group, tenant) AS message_group, message_id, sent_at, attributes,
    body
"""

_SEND = """
INSERT INTO {messages} (queue, visible_at, tenant, message_id, sent_at, attributes, body)
VALUES (
    %(queue)s, {clock} + %(delay)s::float8, %(group)s, %(message_id)s, {clock}, %(attributes)s, %(body)s
)
"""

_SEND_MANY = """
INSERT INTO {messages} (queue, visible_at, tenant, message_id, sent_at, attributes, body)
SELECT %(queue)s, {clock} + delay, message_group, message_id, {clock}, attributes, body
FROM unnest(
    %(delays)s::text::float8[], %(groups)s::text::text[], %(message_ids)s::text::text[],
    %(attributes)s::text::text[], %(bodies)s::text::text[]
) WITH ORDINALITY AS sent (delay, message_group, message_id, attributes, body, position)
ORDER BY position
"""

# A message whose id was seen before is left out.
_SEND_IN_ORDER = """
INSERT INTO {messages} (queue, visible_at, message_group, message_id, sent_at, attributes, body)
SELECT %(queue)s, {clock} + delay, message_group, message_id, {clock}, attributes, body
FROM unnest(
    %(delays)s::text::float8[], %(groups)s::text::text[], %(message_ids)s::text::text[],
    %(attributes)s::text::text[], %(bodies)s::text::text[], %(ids)s::text::text[]
) WITH ORDINALITY AS sent (delay, message_group, message_id, attributes, body, id, position)
WHERE id IS NULL OR EXISTS (
    SELECT 1 FROM {deduplication} AS seen
    WHERE seen.queue = %(queue)s AND seen.id = sent.id AND seen.message_id = sent.message_id
)
ORDER BY position
"""

# The update changes nothing: it locks the row of a group that is there. In order, so that two senders don't wait for
# each other.
_ENTER_GROUPS = """
INSERT INTO {groups} AS here (queue, message_group, ready_at)
SELECT queue, message_group, {clock} + delay
FROM unnest(%(queues)s::text::text[], %(groups)s::text::text[], %(delays)s::text::float8[])
    AS sent (queue, message_group, delay)
ORDER BY queue, message_group
ON CONFLICT (queue, message_group) DO UPDATE SET ready_at = here.ready_at
"""

# In steps, so that no send pays for all ids of a busy time; and those that another sender removes are left to it.
_FORGET_OLD_IDS = """
DELETE FROM {deduplication} WHERE queue = %(queue)s AND id = ANY(ARRAY(
    SELECT id FROM {deduplication} WHERE queue = %(queue)s AND seen_at <= {now} - %(kept_seconds)s::float8
    ORDER BY seen_at LIMIT %(limit)s::integer FOR UPDATE SKIP LOCKED
))
"""

# An id that is too old counts as a new one.
_REMEMBER_IDS = """
INSERT INTO {deduplication} AS seen (queue, id, message_id, seen_at)
SELECT %(queue)s, id, message_id, {clock}
FROM unnest(%(ids)s::text::text[], %(message_ids)s::text::text[]) AS sent (id, message_id)
ORDER BY id
ON CONFLICT (queue, id) DO UPDATE SET
    message_id = CASE WHEN seen.seen_at <= excluded.seen_at - %(kept_seconds)s::float8
        THEN excluded.message_id ELSE seen.message_id END,
    seen_at = CASE WHEN seen.seen_at <= excluded.seen_at - %(kept_seconds)s::float8
        THEN excluded.seen_at ELSE seen.seen_at END
RETURNING id, message_id
"""

_RECEIVE = """
UPDATE {messages} SET
    visible_at = {now} + %(seconds)s::float8, lease = lease + 1, leased = true, receive_count = receive_count + 1
WHERE sequence = ANY(ARRAY(
    SELECT sequence FROM {messages} WHERE queue = %(queue)s AND visible_at <= {now}
    ORDER BY visible_at, sequence LIMIT %(limit)s::integer FOR UPDATE SKIP LOCKED
))
RETURNING {returned}
"""

# A receive from an ordered queue has three statements in one transaction: it holds groups, takes their messages, and
# sets the groups' times. Each sees what was committed before it, so the second one sees what happened to a group until
# it was held.
_HOLD_GROUPS = """
UPDATE {groups} SET ready_at = {now} + %(seconds)s::float8, holder = %(holder)s
WHERE queue = %(queue)s AND ready_at <= {now} AND message_group = ANY(ARRAY(
    SELECT message_group FROM {groups} WHERE queue = %(queue)s AND ready_at <= {now}
    ORDER BY ready_at LIMIT %(limit)s::integer FOR NO KEY UPDATE SKIP LOCKED
))
"""

_HELD_GROUPS = "queue = %(queue)s AND ready_at = {now} + %(seconds)s::float8 AND holder = %(holder)s"

# From each group: the messages before the first delayed one.
_RECEIVE_IN_ORDER = """
UPDATE {messages} SET
    visible_at = {now} + %(seconds)s::float8, lease = lease + 1, leased = true, receive_count = receive_count + 1
WHERE sequence = ANY(ARRAY(
    SELECT sequence FROM (
        SELECT message.sequence, max(message.visible_at) OVER (
            PARTITION BY message.message_group ORDER BY message.sequence
        ) AS visible_at
        FROM (SELECT message_group FROM {groups} WHERE {held_groups}) AS held CROSS JOIN LATERAL (
            SELECT sequence, message_group, visible_at FROM {messages}
            WHERE queue = %(queue)s AND message_group = held.message_group
            ORDER BY sequence LIMIT %(limit)s::integer
        ) AS message
    ) AS message
    WHERE visible_at <= {now} ORDER BY sequence LIMIT %(limit)s::integer
))
RETURNING {returned}
"""

_SET_TIMES = """
WITH state AS (
    SELECT here.queue, here.message_group, (
        SELECT message.visible_at FROM {messages} AS message
        WHERE message.queue = here.queue AND message.message_group = here.message_group ORDER BY sequence LIMIT 1
    ) AS due_at, (
        SELECT max(message.visible_at) FROM {messages} AS message
        WHERE message.queue = here.queue AND message.message_group = here.message_group AND message.leased
    ) AS leased_until
    FROM ({which}) AS here
), emptied AS (
    DELETE FROM {groups} AS here USING state
    WHERE here.queue = state.queue AND here.message_group = state.message_group AND state.due_at IS NULL
)
UPDATE {groups} AS here SET ready_at = greatest(state.due_at, state.leased_until), holder = NULL FROM state
WHERE here.queue = state.queue AND here.message_group = state.message_group AND state.due_at IS NOT NULL
"""

_SET_TIMES_OF_HELD = _SET_TIMES.replace("{which}", "SELECT queue, message_group FROM {groups} WHERE {held_groups}")

_GIVEN_GROUPS = "unnest(%(queues)s::text::text[], %(groups)s::text::text[]) AS given (queue, message_group)"

_SET_TIMES_OF_GIVEN = _SET_TIMES.replace("{which}", "SELECT queue, message_group FROM {given_groups}")

_LOCK_GROUPS = """
SELECT 1 AS locked FROM {given_groups} JOIN {groups} AS here USING (queue, message_group)
ORDER BY queue, message_group FOR NO KEY UPDATE OF here
"""


_ACKNOWLEDGE = """
DELETE FROM {messages} AS here
USING unnest(%(sequences)s::text::bigint[], %(leases)s::text::integer[]) AS settled (sequence, lease)
WHERE here.sequence = settled.sequence AND here.lease = settled.lease AND here.leased
"""

_RELEASE = """
UPDATE {messages} AS here SET
    visible_at = {now} + delay, leased = false, receive_count = here.receive_count - taken_back
FROM unnest(
    %(sequences)s::text::bigint[], %(leases)s::text::integer[], %(delays)s::text::float8[],
    %(taken_back)s::text::integer[]
) AS settled (sequence, lease, delay, taken_back)
WHERE here.sequence = settled.sequence AND here.lease = settled.lease AND here.leased
"""

_DEAD_LETTER = """
UPDATE {messages} AS here SET
    queue = settled.queue, attributes = settled.attributes, sent_at = {now}, visible_at = {now}, leased = false,
    receive_count = 0
FROM unnest(
    %(sequences)s::text::bigint[], %(leases)s::text::integer[], %(queues)s::text::text[],
    %(attributes)s::text::text[]
) AS settled (sequence, lease, queue, attributes)
WHERE here.sequence = settled.sequence AND here.lease = settled.lease AND here.leased
"""

_EXTEND = """
UPDATE {messages} AS here SET visible_at = {now} + %(seconds)s::float8
FROM unnest(%(sequences)s::text::bigint[], %(leases)s::text::integer[]) AS extended (sequence, lease)
WHERE here.sequence = extended.sequence AND here.lease = extended.lease AND here.leased AND here.visible_at > {now}
RETURNING here.sequence, here.lease
"""

_NEXT = "SELECT (SELECT min(visible_at) FROM {messages} WHERE queue = %(queue)s) - {now} AS seconds"

_NEXT_IN_ORDER = "SELECT (SELECT min(ready_at) FROM {groups} WHERE queue = %(queue)s) - {now} AS seconds"

_DEPTH = """
SELECT count(*) FILTER (WHERE visible_at <= {now}) AS waiting,
    count(*) FILTER (WHERE visible_at > {now} AND NOT leased) AS delayed,
    count(*) FILTER (WHERE visible_at > {now} AND leased) AS in_flight
FROM {messages} WHERE queue = %(queue)s
"""

_LIST_HELD = """
SELECT queue, body, visible_at, sequence FROM {messages}
WHERE queue = ANY(%(queues)s::text::text[]) AND visible_at > {now} AND NOT leased
    AND (visible_at, sequence) > (%(after_time)s::float8, %(after_sequence)s::bigint)
ORDER BY visible_at, sequence LIMIT %(limit)s::integer
"""

_LAST = "SELECT max(sequence) AS last FROM {messages}"

# Of the messages that are found, a worker may settle some before they are locked.
_PURGE_SOME = """
WITH found AS MATERIALIZED (
    SELECT sequence FROM {messages} WHERE queue = %(queue)s AND sequence <= %(last)s::bigint
    LIMIT %(limit)s::integer
), removed AS (
    DELETE FROM {messages} WHERE sequence = ANY(ARRAY(SELECT sequence FROM found)) RETURNING 1
)
SELECT (SELECT count(*) FROM found) AS found, (SELECT count(*) FROM removed) AS messages
"""

_PURGE = """
WITH removed AS (DELETE FROM {messages} WHERE queue = %(queue)s RETURNING 1) SELECT count(*) AS messages FROM removed
"""

_PURGE_GROUPS = "DELETE FROM {groups} WHERE queue = %(queue)s"

IDENTITY: Final = """
SELECT current_database() AS database, (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS started_at
"""

SCHEMA_OF: Final = """
SELECT nspname AS schema FROM pg_namespace JOIN pg_class ON pg_class.relnamespace = pg_namespace.oid
WHERE pg_class.oid = to_regclass('{messages}')
"""


class Statements:
    """The statements for some tables.

    Args:
        tables: the tables.
        given_time: whether the time is a parameter, ``now``, instead of the server's own.
    """

    def __init__(self, tables: Tables, *, given_time: bool = False) -> None:
        self._names = {
            **tables.names,
            "now": _GIVEN if given_time else _NOW,
            "clock": _GIVEN if given_time else _CLOCK,
            "returned": _RETURNED,
            "given_groups": _GIVEN_GROUPS,
        }
        self._names["held_groups"] = self._written(_HELD_GROUPS)
        self.send = self._written(_SEND)
        self.send_many = self._written(_SEND_MANY)
        self.send_in_order = self._written(_SEND_IN_ORDER)
        self.enter_groups = self._written(_ENTER_GROUPS)
        self.forget_old_ids = self._written(_FORGET_OLD_IDS)
        self.remember_ids = self._written(_REMEMBER_IDS)
        self.receive = self._written(_RECEIVE)
        self.hold_groups = self._written(_HOLD_GROUPS)
        self.receive_in_order = self._written(_RECEIVE_IN_ORDER)
        self.set_times_of_held = self._written(_SET_TIMES_OF_HELD)
        self.set_times_of_given = self._written(_SET_TIMES_OF_GIVEN)
        self.lock_groups = self._written(_LOCK_GROUPS)
        self.acknowledge = self._written(_ACKNOWLEDGE)
        self.release = self._written(_RELEASE)
        self.dead_letter = self._written(_DEAD_LETTER)
        self.extend = self._written(_EXTEND)
        self.next = self._written(_NEXT)
        self.next_in_order = self._written(_NEXT_IN_ORDER)
        self.depth = self._written(_DEPTH)
        self.list_held = self._written(_LIST_HELD)
        self.last = self._written(_LAST)
        self.purge_some = self._written(_PURGE_SOME)
        self.purge = self._written(_PURGE)
        self.purge_groups = self._written(_PURGE_GROUPS)

    def _written(self, template: str) -> str:
        return template.format(**self._names)


def array_of(values: Iterable[str | float | None]) -> str:
    """Write an array as PostgreSQL reads it from a text (its documentation, "Array Input and Output Syntax")."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: str | float | None) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return "NULL" if value is None else repr(value)
