"""The members of a large group as pages: what is kept in the result store until a built-in task sends them.

Whoever starts a group of many members could die in the middle of sending them. So it stores them first, as records in
the result store, where nothing runs yet, and then sends one message, which names the pages and their digests: the
store need not be believed more than the message. Which messages the members become is ``planner``'s part, who sends
them is ``fan_out``'s.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from taskq_cloud.core import serializers
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Message, Signature
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS, FINAL_VERSION, PENDING, SUCCESS, Record
from taskq_cloud.core.workflows.signatures import FAN_OUT, to_signature
from taskq_cloud.core.workflows.stages import Stages
from taskq_cloud.errors import DecodeError, PayloadTooLarge

PAGE_MEMBERS: Final = 1_000
"""At most; their messages are encoded and sent in two seconds, far from any lease's end or function's timeout."""
PAGE_BYTES: Final = 256 * 1024
"""At most, or what the store takes. DynamoDB charges a record by its KiB, so smaller ones would save nothing."""
_DOCUMENT_BYTES: Final = 1024
"""Of a record, around its page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """Whether and how groups are kept in pages.

    Args:
        over: groups of more members are.
        page_bytes: of one page, at most.
        knows: whether a task is registered here. Of others it isn't known that workers of ours run them, and Celery's
            don't know ``FAN_OUT``.
        route: task name -> queue.
    """

    over: int
    page_bytes: int
    knows: Callable[[str], bool]
    route: Callable[[str], str]

    @classmethod
    def of(cls, store: ResultStore, over: int, tasks: Collection[str], route: Callable[[str], str]) -> Self | None:
        """Decide whether large groups are kept in pages; None: they are not.

        Args:
            store: the result store, which has to keep records.
            over: the setting ``task_fan_out_members``: larger groups are kept in pages; 0: no groups are.
            tasks: the names of the tasks that are registered here.
            route: task name -> queue.
        """
        if not (over and store.capabilities.keeps_records):
            return None
        page_bytes = min(PAGE_BYTES, store.capabilities.largest_record_bytes)
        return cls(over=over, page_bytes=page_bytes, knows=lambda task: task in tasks, route=route)


@dataclass(frozen=True, slots=True)
class PageReference:
    """What the message of ``FAN_OUT`` says of a page: the place of its first member, their number, its digest."""

    first: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Page:
    """Members that stand side by side in a group.

    Args:
        group: the group's id.
        reference: the page as the message names it.
        text: their signatures, as JSON.
    """

    group: str
    reference: PageReference
    text: str

    def record(self, now: float) -> Record:
        """It, as it is stored, for longer than any queue keeps the message that names it."""
        return _record(self.group, self.reference, PENDING, self.text, now)


def cut(group: str, members: Iterable[Stages], paging: Paging) -> Iterator[Page]:
    """Cut a group's members into pages.

    Raises:
        EncodeError: JSON can't say a member's arguments.
        PayloadTooLarge: one member alone is larger than a page may be.
    """
    room = paging.page_bytes - _DOCUMENT_BYTES
    texts: list[str] = []
    first = size = 0
    for index, member in enumerate(members):
        text = serializers.dumps(to_signature(member))
        # A page is a string of JSON within JSON: its digest is of its characters, whoever parses the record.
        added = len(serializers.dumps(text).encode())
        if added > room:
            raise PayloadTooLarge(
                f"member {index} of group {group} is {added} bytes, and the result store takes at most {room}: set "
                "TASKQ_PAYLOADS to a bucket for what is larger, or store its arguments elsewhere and send where they "
                "are"
            )
        if texts and (size + added > room or len(texts) == PAGE_MEMBERS):
            yield _page(group, first, texts)
            first, size, texts = index, 0, []
        texts.append(text)
        size += added
    if texts:
        yield _page(group, first, texts)


def record_id(group: str, first: int) -> str:
    """The id of a page's record."""
    return f"{FAN_OUT}-{derived_id(group, 'page', first)}"


def sent_record(group: str, page: PageReference, now: float) -> Record:
    """What takes a page's place once its members are sent: final, and small."""
    return _record(group, page, SUCCESS, f"{page.size} members sent", now)


def read(record: Record | None, group: str, page: PageReference) -> list[Signature]:
    """The members of a stored page.

    Raises:
        DecodeError: it is gone, or not the page that the message names.
    """
    if record is None:
        raise DecodeError(
            f"members {page.first} to {page.first + page.size - 1} of group {group} can't be sent: their record "
            f"{record_id(group, page.first)} is gone from the result store"
        )
    text: Any = document.decode(record.payload).get("result")
    if not isinstance(text, str) or hashlib.sha256(text.encode()).hexdigest() != page.sha256:
        raise DecodeError(f"the stored page {record.id} is not the one that the message names: it has been altered")
    members: list[Signature] = serializers.loads(text)
    return members


def _page(group: str, first: int, texts: Sequence[str]) -> Page:
    text = f"[{','.join(texts)}]"
    return Page(group, PageReference(first, len(texts), hashlib.sha256(text.encode()).hexdigest()), text)


def _record(group: str, page: PageReference, state: str, result: str, now: float) -> Record:
    page_id = record_id(group, page.first)
    message = Message(task=FAN_OUT, id=page_id, group=group)
    return Record(
        id=page_id,
        state=state,
        version=FINAL_VERSION if state == SUCCESS else 0,
        payload=document.encode(message, state, json.dumps(result), now=now),
        expires_at=now + FENCE_KEPT_SECONDS,
    )
