"""The tables of the SQLite broker, and the SQL statements for them; ``sqlite`` decides when to execute which.

A message can be received once its ``visible_at`` has passed. A delay, a lease and a release for later all set
``visible_at`` to a time in the future, so the messages of a process that dies come back by themselves. ``receipt`` is
the receipt of the last delivery. It begins with the row's number, so that settling needs no index of its own.

``taskq_groups`` has a row for each message group that has messages, kept up to date by triggers, so that a receive
from an ordered queue reads as many rows as it returns messages, however many messages and groups wait. ``head`` is the
group's first message. ``blocked_until`` is the time at which the group's lease and the delay of its head are over;
NULL means that the time has passed, which ``UNBLOCK`` writes.

``taskq_clock`` has the latest time that a process of this file has seen. If a process sees a much earlier time, the
machine's clock was set back. Every time in the tables then moves back by that step, so that a delay or a lease takes as
long as it was meant to.
"""

from __future__ import annotations

from typing import Final

from taskq_cloud.core.model.local_clock import STEP_BACK, clock_schema, see_time

_GROUP_OF = "queue = {row}.queue AND message_group = {row}.message_group"

_REFRESH_GROUP = f"""
    DELETE FROM taskq_groups WHERE {_GROUP_OF};
    INSERT INTO taskq_groups (queue, message_group, head, blocked_until)
    SELECT queue, message_group, sequence, max(visible_at, coalesce((
        SELECT max(visible_at) FROM taskq_messages WHERE {_GROUP_OF} AND receipt IS NOT NULL
    ), 0))
    FROM taskq_messages WHERE {_GROUP_OF} ORDER BY sequence LIMIT 1;
"""  # noqa: S608 - the inserted values of this and the following statements are constants

# The condition of the second trigger lets a purge remove the groups first, and then the messages at no further cost.
_GROUPS: Final = f"""
CREATE TABLE IF NOT EXISTS taskq_groups (
    queue TEXT NOT NULL,
    message_group TEXT NOT NULL,
    head INTEGER NOT NULL,
    blocked_until REAL,
    PRIMARY KEY (queue, message_group)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS taskq_groups_ready ON taskq_groups (queue, head) WHERE blocked_until IS NULL;
CREATE INDEX IF NOT EXISTS taskq_groups_blocked ON taskq_groups (queue, blocked_until) WHERE blocked_until IS NOT NULL;
CREATE TRIGGER IF NOT EXISTS taskq_message_sent AFTER INSERT ON taskq_messages WHEN new.message_group IS NOT NULL BEGIN
    INSERT INTO taskq_groups (queue, message_group, head, blocked_until)
    VALUES (
        new.queue, new.message_group, new.sequence, CASE WHEN new.visible_at > new.sent_at THEN new.visible_at END
    )
    ON CONFLICT DO NOTHING;
END;
CREATE TRIGGER IF NOT EXISTS taskq_message_removed AFTER DELETE ON taskq_messages
WHEN old.message_group IS NOT NULL AND EXISTS (SELECT 1 FROM taskq_groups WHERE {_GROUP_OF.format(row="old")}) BEGIN
    {_REFRESH_GROUP.format(row="old")}
END;
CREATE TRIGGER IF NOT EXISTS taskq_message_changed AFTER UPDATE OF visible_at, receipt ON taskq_messages
WHEN new.message_group IS NOT NULL BEGIN
    {_REFRESH_GROUP.format(row="old")}
END;
CREATE TRIGGER IF NOT EXISTS taskq_message_moved AFTER UPDATE OF queue ON taskq_messages
WHEN new.message_group IS NOT NULL BEGIN
    {_REFRESH_GROUP.format(row="new")}
END;
INSERT INTO taskq_groups (queue, message_group, head, blocked_until)
    SELECT queue, message_group, min(sequence), max(visible_at, coalesce((
        SELECT max(visible_at) FROM taskq_messages AS leased
        WHERE leased.queue = message.queue AND leased.message_group = message.message_group AND receipt IS NOT NULL
    ), 0))
    FROM taskq_messages AS message
    WHERE message_group IS NOT NULL AND NOT EXISTS (SELECT 1 FROM taskq_groups) GROUP BY queue, message_group;
"""  # noqa: S608

_CLOCK: Final = clock_schema(
    "taskq_clock",
    f"""
    UPDATE taskq_messages SET visible_at = visible_at - {STEP_BACK} WHERE visible_at > new.latest;
    UPDATE taskq_deduplication SET seen_at = seen_at - {STEP_BACK} WHERE seen_at > new.latest;
    """,  # noqa: S608
)

_MESSAGES: Final = """
CREATE TABLE IF NOT EXISTS taskq_messages (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    visible_at REAL NOT NULL,
    receipt TEXT,
    receive_count INTEGER NOT NULL DEFAULT 0,
    message_group TEXT,
    message_id TEXT NOT NULL,
    sent_at REAL NOT NULL,
    attributes TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS taskq_messages_by_time ON taskq_messages (queue, visible_at);
DROP INDEX IF EXISTS taskq_messages_in_order;
DROP INDEX IF EXISTS taskq_messages_of_group;
CREATE INDEX IF NOT EXISTS taskq_messages_in_group ON taskq_messages (queue, message_group, sequence)
    WHERE message_group IS NOT NULL;
CREATE INDEX IF NOT EXISTS taskq_messages_in_flight ON taskq_messages (queue, message_group, visible_at)
    WHERE message_group IS NOT NULL AND receipt IS NOT NULL;
CREATE TABLE IF NOT EXISTS taskq_deduplication (
    queue TEXT NOT NULL,
    id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    seen_at REAL NOT NULL,
    PRIMARY KEY (queue, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS taskq_deduplication_by_time ON taskq_deduplication (queue, seen_at);
"""

SCHEMA: Final = _MESSAGES + _GROUPS + _CLOCK

READY: Final = """
    SELECT sequence FROM taskq_messages INDEXED BY taskq_messages_by_time
    WHERE queue = :queue AND visible_at <= :now
    ORDER BY visible_at, sequence LIMIT :limit
"""

# From each group without a message in flight: the messages before the first delayed one. The earliest messages of all
# groups are among the first messages of the groups with the earliest heads.
READY_IN_ORDER: Final = """
    SELECT sequence FROM (
        SELECT message.sequence, max(message.visible_at) OVER (
            PARTITION BY message.message_group ORDER BY message.sequence
        ) AS visible_at
        FROM (
            SELECT message_group FROM taskq_groups INDEXED BY taskq_groups_ready
            WHERE queue = :queue AND blocked_until IS NULL ORDER BY head LIMIT :limit
        ) AS ready CROSS JOIN taskq_messages AS message
        WHERE message.sequence IN (
            SELECT sequence FROM taskq_messages INDEXED BY taskq_messages_in_group
            WHERE queue = :queue AND message_group = ready.message_group ORDER BY sequence LIMIT :limit
        )
    )
    WHERE visible_at <= :now ORDER BY sequence LIMIT :limit
"""

# As many groups as a receive returns messages at most, so that one receive doesn't pay for all.
UNBLOCK: Final = """
    UPDATE taskq_groups SET blocked_until = NULL
    WHERE queue = :queue AND message_group IN (
        SELECT message_group FROM taskq_groups INDEXED BY taskq_groups_blocked
        WHERE queue = :queue AND blocked_until <= :now ORDER BY blocked_until LIMIT 1000
    )
"""

# The smallest visible_at of the queue: one step in the index.
NEXT: Final = """
    SELECT (
        SELECT min(visible_at) FROM taskq_messages INDEXED BY taskq_messages_by_time WHERE queue = :queue
    ) AS at, (SELECT latest FROM taskq_clock WHERE id = 1) AS latest
"""

NEXT_IN_ORDER: Final = """
    SELECT CASE
        WHEN EXISTS (
            SELECT 1 FROM taskq_groups INDEXED BY taskq_groups_ready WHERE queue = :queue AND blocked_until IS NULL
        ) THEN 0
        ELSE (
            SELECT min(blocked_until) FROM taskq_groups INDEXED BY taskq_groups_blocked
            WHERE queue = :queue AND blocked_until IS NOT NULL
        )
    END AS at, (SELECT latest FROM taskq_clock WHERE id = 1) AS latest
"""

SEE_TIME: Final = see_time("taskq_clock")

RECEIVE: Final = """
    UPDATE taskq_messages
    SET visible_at = :now + :lease, receive_count = receive_count + 1,
        receipt = sequence || '.' || lower(hex(randomblob(8)))
    WHERE sequence IN ({ready})
    RETURNING sequence, receipt, receive_count, message_group, message_id, sent_at, attributes, body
"""

# In steps, so that no send pays for all ids of a busy time.
FORGET_OLD_IDS: Final = """
    DELETE FROM taskq_deduplication WHERE queue = :queue AND id IN (
        SELECT id FROM taskq_deduplication INDEXED BY taskq_deduplication_by_time
        WHERE queue = :queue AND seen_at <= :before LIMIT :limit
    )
"""

# An id that is too old counts as a new one. Otherwise the update changes nothing: it is here because RETURNING returns
# only rows that were written.
REMEMBER_ID: Final = """
    INSERT INTO taskq_deduplication (queue, id, message_id, seen_at)
    VALUES (:queue, :deduplication, :message_id, :now)
    ON CONFLICT DO UPDATE SET
        message_id = CASE WHEN seen_at <= :before THEN excluded.message_id ELSE message_id END,
        seen_at = CASE WHEN seen_at <= :before THEN excluded.seen_at ELSE seen_at END
    RETURNING message_id
"""

INSERT: Final = """
    INSERT INTO taskq_messages (queue, visible_at, message_group, message_id, sent_at, attributes, body)
    VALUES (:queue, :visible_at, :group, :message_id, :now, :attributes, :body)
"""

INSERT_ONCE: Final = """
    INSERT INTO taskq_messages (queue, visible_at, message_group, message_id, sent_at, attributes, body)
    SELECT :queue, :visible_at, :group, :message_id, :now, :attributes, :body
    WHERE NOT EXISTS (
        SELECT 1 FROM taskq_deduplication WHERE queue = :queue AND id = :deduplication AND message_id <> :message_id
    )
"""

ACKNOWLEDGE: Final = "DELETE FROM taskq_messages WHERE sequence = ? AND receipt = ? AND queue = ?"

RELEASE: Final = """
    UPDATE taskq_messages SET visible_at = :visible_at, receipt = NULL, receive_count = receive_count - :taken_back
    WHERE sequence = :sequence AND receipt = :receipt AND queue = :queue
"""

DEAD_LETTER: Final = """
    UPDATE taskq_messages
    SET queue = :dead_letter_queue, attributes = :attributes, sent_at = :now, visible_at = :now,
        receipt = NULL, receive_count = 0
    WHERE sequence = :sequence AND receipt = :receipt AND queue = :queue
"""

EXTEND: Final = """
    UPDATE taskq_messages SET visible_at = :visible_at
    WHERE sequence = :sequence AND receipt = :receipt AND queue = :queue AND visible_at > :now
    RETURNING sequence
"""

DEPTH: Final = """
    SELECT
        (SELECT count(*) FROM taskq_messages WHERE queue = :queue AND visible_at <= :now) AS waiting,
        (SELECT count(*) FROM taskq_messages WHERE queue = :queue AND visible_at > :now AND receipt IS NULL) AS delayed,
        (SELECT count(*) FROM taskq_messages WHERE queue = :queue AND visible_at > :now AND receipt IS NOT NULL)
            AS in_flight
"""

LIST_HELD: Final = """
    SELECT queue, body, visible_at, sequence FROM taskq_messages
    WHERE queue IN (SELECT value FROM json_each(:queues)) AND visible_at > :now AND receipt IS NULL
        AND (visible_at, sequence) > (:after_time, :after_sequence)
    ORDER BY visible_at, sequence LIMIT :limit
"""

LAST: Final = "SELECT max(sequence) AS last FROM taskq_messages"

# A step of a purge, up to the last message that was there when it began.
PURGE_SOME: Final = """
    DELETE FROM taskq_messages WHERE sequence IN (
        SELECT sequence FROM taskq_messages INDEXED BY taskq_messages_by_time
        WHERE queue = :queue AND sequence <= :last LIMIT :limit
    )
"""

PURGE: Final = "DELETE FROM taskq_messages WHERE queue = :queue"

PURGE_GROUPS: Final = "DELETE FROM taskq_groups WHERE queue = :queue"

REMOVED: Final = "SELECT changes() AS messages"
