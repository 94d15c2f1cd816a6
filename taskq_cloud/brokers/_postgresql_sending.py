"""One batch of messages that is sent to a queue of the PostgreSQL broker: its statements, and its answers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.brokers._postgresql_statements import Statements, array_of
from taskq_cloud.core.model.capabilities import DEFAULT_GROUP, is_ordered
from taskq_cloud.core.model.message import Outgoing, Refused, Sent
from taskq_cloud.errors import OperationalError

_FORGOTTEN_AT_LEAST: Final = 20
"""Old deduplication ids that a batch removes, besides as many as it adds."""


class Batch:
    """Messages that one transaction sends.

    Args:
        queue: the queue.
    """

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._ordered = is_ordered(queue)
        self._answers: list[str | Refused] = []
        self._ids: dict[str, str] = {}
        self._messages: list[tuple[str, Outgoing]] = []

    def __bool__(self) -> bool:
        return bool(self._messages)

    def add(self, message: Outgoing, refused: Refused | None) -> None:
        """Add a message; of several with one deduplication id the first counts.

        Args:
            message: the message.
            refused: the reason why the broker doesn't take it.
        """
        refused = refused or _unstorable(self._queue, message)
        if refused is not None:
            self._answers.append(refused)
            return
        message_id = os.urandom(16).hex()
        if self._ordered and message.deduplication is not None:
            message_id = self._ids.setdefault(message.deduplication, message_id)
        if message_id not in self._answers:
            self._messages.append((message_id, message))
        self._answers.append(message_id)

    def statements(self, sql: Statements, kept_seconds: float) -> list[tuple[str, dict[str, Any]]]:
        """The statements that send the messages.

        Args:
            sql: the statements of the broker.
            kept_seconds: how long a deduplication id is remembered.
        """
        if not self._ordered:
            return [(sql.send_many, self._columns()) if len(self._messages) > 1 else (sql.send, self._row())]
        statements = [(sql.enter_groups, self._groups())]
        if self._ids:
            ids: dict[str, Any] = {"queue": self._queue, "kept_seconds": kept_seconds}
            limit = _FORGOTTEN_AT_LEAST + len(self._ids)
            remembered = {**ids, "ids": array_of(self._ids), "message_ids": array_of(self._ids.values())}
            statements += [(sql.forget_old_ids, {**ids, "limit": limit}), (sql.remember_ids, remembered)]
        known = [each.deduplication for _, each in self._messages]
        return [*statements, (sql.send_in_order, {**self._columns(), "ids": array_of(known)})]

    def answers(self, known: Mapping[str, str] = {}) -> list[Sent | Refused]:
        """The answer to each message.

        Args:
            known: deduplication id -> the message that has it.
        """
        stored = {message_id: known.get(each, message_id) for each, message_id in self._ids.items()}
        return [each if isinstance(each, Refused) else Sent(stored.get(each, each)) for each in self._answers]

    def _row(self) -> dict[str, Any]:
        [(message_id, message)] = self._messages
        return {
            "queue": self._queue,
            "delay": message.delay_seconds,
            "group": message.group,
            "message_id": message_id,
            "attributes": _as_json(message),
            "body": message.body,
        }

    def _columns(self) -> dict[str, Any]:
        messages = [message for _, message in self._messages]
        return {
            "queue": self._queue,
            "delays": array_of(each.delay_seconds for each in messages),
            "groups": array_of(self._group(each) for each in messages),
            "message_ids": array_of(message_id for message_id, _ in self._messages),
            "attributes": array_of(map(_as_json, messages)),
            "bodies": array_of(each.body for each in messages),
        }

    def _groups(self) -> dict[str, Any]:
        delays: dict[str, float] = {}
        for _, message in self._messages:
            delays.setdefault(message.group or DEFAULT_GROUP, message.delay_seconds)
        return {
            "queues": array_of([self._queue] * len(delays)),
            "groups": array_of(delays),
            "delays": array_of(delays.values()),
        }

    def _group(self, message: Outgoing) -> str | None:
        return message.group or (DEFAULT_GROUP if self._ordered else None)


def _as_json(message: Outgoing) -> str | None:
    return json.dumps(dict(message.attributes)) if message.attributes else None


def _unstorable(queue: str, message: Outgoing) -> Refused | None:
    """The refusal of a message with a character that PostgreSQL's texts can't have; attributes are JSON, and can."""
    if any("\x00" in each for each in (message.body, message.group or "", message.deduplication or "")):
        return Refused(OperationalError(f"queue {queue!r}: PostgreSQL can't store the character NUL of this message"))
    return None
