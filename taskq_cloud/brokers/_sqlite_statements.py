"""The tables of the SQLite broker, and the statements it makes on them. When it makes which is not told here.

A message waits while ``visible_at`` has passed; a delay, a lease and a release for later all move ``visible_at`` into
the future, so a process that dies gives back what it held by doing nothing. ``receipt`` is that of the last delivery,
and begins with the number of the row, so that settling needs no index of its own.
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

# Of each group without a message in flight: the messages before the first that is delayed.
READY_IN_ORDER: Final = """
    SELECT sequence FROM taskq_messages AS ready INDEXED BY taskq_messages_in_order
    WHERE queue = :queue AND message_group IS NOT NULL AND visible_at <= :now AND NOT EXISTS (
        SELECT 1 FROM taskq_messages AS held INDEXED BY taskq_messages_of_group
        WHERE held.queue = ready.queue AND held.message_group = ready.message_group AND held.visible_at > :now
            AND (held.receipt IS NOT NULL OR held.sequence < ready.sequence)
    )
    ORDER BY sequence LIMIT :limit
"""

CLAIM: Final = """
    UPDATE taskq_messages
    SET visible_at = :now + :lease, receive_count = receive_count + 1,
        receipt = sequence || '.' || lower(hex(randomblob(8)))
    WHERE sequence IN ({ready})
    RETURNING sequence, receipt, receive_count, message_group, message_id, sent_at, attributes, body
"""

FORGET: Final = "DELETE FROM taskq_deduplication WHERE queue = :queue AND seen_at <= :before"

# The update changes nothing: it is there because only a row that is written is returned.
REMEMBER: Final = """
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

_ITS_OWN: Final = "WHERE sequence = :sequence AND receipt = :receipt AND queue = :queue"

ACKNOWLEDGE: Final = f"DELETE FROM taskq_messages {_ITS_OWN}"  # noqa: S608 - only constants go in

RELEASE: Final = f"UPDATE taskq_messages SET visible_at = :visible_at, receipt = NULL {_ITS_OWN}"  # noqa: S608

DEAD_LETTER: Final = f"""
    UPDATE taskq_messages
    SET queue = :dead_letter_queue, attributes = :attributes, sent_at = :now, visible_at = :now,
        receipt = NULL, receive_count = 0
    {_ITS_OWN}
"""  # noqa: S608

EXTEND: Final = f"""
    UPDATE taskq_messages SET visible_at = :visible_at {_ITS_OWN} AND visible_at > :now
    RETURNING sequence
"""  # noqa: S608

DEPTH: Final = """
    SELECT
        (SELECT count(*) FROM taskq_messages WHERE queue = :queue AND visible_at <= :now) AS waiting,
        (SELECT count(*) FROM taskq_messages WHERE queue = :queue AND visible_at > :now AND receipt IS NULL) AS delayed,
        (SELECT count(*) FROM taskq_messages WHERE queue = :queue AND visible_at > :now AND receipt IS NOT NULL)
            AS in_flight
"""

HELD: Final = """
    SELECT queue, body, visible_at, sequence FROM taskq_messages
    WHERE queue IN (SELECT value FROM json_each(:queues)) AND visible_at > :now AND receipt IS NULL
        AND (visible_at, sequence) > (:after_time, :after_sequence)
    ORDER BY visible_at, sequence LIMIT :limit
"""

COUNT: Final = "SELECT count(*) AS messages FROM taskq_messages WHERE queue = :queue"

PURGE: Final = "DELETE FROM taskq_messages WHERE queue = :queue"
