"""The tables of the SQLite broker, and the SQL statements for them; ``sqlite`` decides when to execute which.

A message can be received once its ``visible_at`` has passed. A delay, a lease and a release for later all set
``visible_at`` to a time in the future, so the messages of a process that dies come back by themselves. ``receipt`` is
the receipt of the last delivery. It begins with the row's number, so that settling needs no index of its own.
"""

from __future__ import annotations

from typing import Final

SCHEMA: Final = """
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
CREATE INDEX IF NOT EXISTS taskq_messages_in_order ON taskq_messages (queue, sequence)
    WHERE message_group IS NOT NULL;
CREATE INDEX IF NOT EXISTS taskq_messages_of_group ON taskq_messages (queue, message_group, visible_at)
    WHERE message_group IS NOT NULL;
CREATE TABLE IF NOT EXISTS taskq_deduplication (
    queue TEXT NOT NULL,
    id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    seen_at REAL NOT NULL,
    PRIMARY KEY (queue, id)
) WITHOUT ROWID
"""

READY: Final = """
    SELECT sequence FROM taskq_messages INDEXED BY taskq_messages_by_time
    WHERE queue = :queue AND visible_at <= :now
    ORDER BY visible_at, sequence LIMIT :limit
"""

# From each group without a message in flight: the messages before the first delayed one.
READY_IN_ORDER: Final = """
    SELECT sequence FROM taskq_messages AS ready INDEXED BY taskq_messages_in_order
    WHERE queue = :queue AND message_group IS NOT NULL AND visible_at <= :now AND NOT EXISTS (
        SELECT 1 FROM taskq_messages AS blocking INDEXED BY taskq_messages_of_group
        WHERE blocking.queue = ready.queue AND blocking.message_group = ready.message_group
            AND blocking.visible_at > :now
            AND (blocking.receipt IS NOT NULL OR blocking.sequence < ready.sequence)
    )
    ORDER BY sequence LIMIT :limit
"""

RECEIVE: Final = """
    UPDATE taskq_messages
    SET visible_at = :now + :lease, receive_count = receive_count + 1,
        receipt = sequence || '.' || lower(hex(randomblob(8)))
    WHERE sequence IN ({ready})
    RETURNING sequence, receipt, receive_count, message_group, message_id, sent_at, attributes, body
"""

FORGET_OLD_IDS: Final = "DELETE FROM taskq_deduplication WHERE queue = :queue AND seen_at <= :before"

# The update changes nothing. It is here because RETURNING returns only rows that were written.
REMEMBER_ID: Final = """
    INSERT INTO taskq_deduplication (queue, id, message_id, seen_at)
    VALUES (:queue, :deduplication, :message_id, :now)
    ON CONFLICT DO UPDATE SET seen_at = seen_at
    RETURNING message_id
"""

INSERT: Final = """
    INSERT INTO taskq_messages (queue, visible_at, message_group, message_id, sent_at, attributes, body)
    SELECT :queue, :visible_at, :group, :message_id, :now, :attributes, :body
    WHERE NOT EXISTS (
        SELECT 1 FROM taskq_deduplication WHERE queue = :queue AND id = :deduplication AND message_id <> :message_id
    )
"""

ACKNOWLEDGE: Final = """
    DELETE FROM taskq_messages WHERE sequence = :sequence AND receipt = :receipt AND queue = :queue
"""

RELEASE: Final = """
    UPDATE taskq_messages SET visible_at = :visible_at, receipt = NULL
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

COUNT: Final = "SELECT count(*) AS messages FROM taskq_messages WHERE queue = :queue"

PURGE: Final = "DELETE FROM taskq_messages WHERE queue = :queue"
