"""Pages of large groups: the members wait in the result store until the built-in task ``taskq.fan_out`` sends them.

The process that starts a group of many members could die in the middle of sending them. So it first stores the members
as records, which start nothing, and then sends one message, which names the pages and their digests. With the digests,
an altered page is noticed. ``planner`` makes the members' messages, and ``execution.steps.fan_out`` sends them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Final, Self

from taskq_cloud.core import serializers
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.messages.sending import LARGEST_SENT_BYTES
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import CALL, Message, Signature
from taskq_cloud.core.model.task_names import FAN_OUT
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS, FINAL_VERSION, PENDING, SUCCESS, Record
from taskq_cloud.core.workflows.signatures import to_signature
from taskq_cloud.core.workflows.stages import Stages, TaskStage
from taskq_cloud.errors import DecodeError, EncodeError, PayloadTooLarge

PAGE_MEMBERS: Final = 1_000
"""The most members of a page: their messages are encoded and sent in two seconds, which is far less than any lease or
function timeout."""
PAGE_BYTES: Final = 256 * 1024
"""The largest page, unless the store takes less. DynamoDB charges a record by its KiB, so smaller pages would save
nothing."""
_DOCUMENT_BYTES: Final = 1024
"""The room that a record needs in addition to its page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """The rules for keeping groups in pages.

    Args:
        over: larger groups are kept in pages.
        page_bytes: the largest page.
        knows: whether a task is registered in this process. Other tasks may be run by Celery's workers, which don't
            know the task ``taskq.fan_out``.
        route: task name -> queue.
    """

    over: int
    page_bytes: int
    knows: Callable[[str], bool]
    route: Callable[[str], str]

    @classmethod
    def of(cls, store: ResultStore, over: int, tasks: Collection[str], route: Callable[[str], str]) -> Self | None:
        """Make the rules for an application; None: no groups are kept in pages.

        Args:
            store: the result store, which has to keep records for other processes.
            over: the setting ``task_fan_out_members``: larger groups are kept in pages; 0: no groups are.
            tasks: the names of the tasks that are registered in this process.
            route: task name -> queue.
        """
        if not (over and store.capabilities.remembers):
            return None
        page_bytes = min(PAGE_BYTES, store.capabilities.largest_record_bytes)
        return cls(over=over, page_bytes=page_bytes, knows=lambda task: task in tasks, route=route)


@dataclass(frozen=True, slots=True)
class PageReference:
    """A page as the message of ``taskq.fan_out`` names it.

    Args:
        first: the index of its first member in the group.
        size: how many members it has.
        sha256: the digest of its text, in hexadecimal.
    """

    first: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive members of a group.

    Args:
        group: the group's id.
        reference: the page as the message names it.
        text: the members' signatures, as JSON.
    """

    group: str
    reference: PageReference
    text: str

    def record(self, now: float) -> Record:
        """The record of the page; it is kept for longer than any queue keeps the message that names the page."""
        return _record(self.group, self.reference, PENDING, self.text, now)


def cut(group: str, members: Iterable[Stages], paging: Paging) -> Iterator[Page]:
    """Cut a group's members into pages.

    Args:
        group: the group's id.
        members: the members, in order.
        paging: the rules.

    Raises:
        EncodeError: a member's arguments can't be serialised as JSON.
        PayloadTooLarge: one member alone is larger than a page.
    """
    room = paging.page_bytes - _DOCUMENT_BYTES
    texts: list[str] = []
    first = size = 0
    for index, member in enumerate(members):
        text = serializers.dumps(to_signature(member))
        # A page is a JSON text within JSON, so that its digest doesn't depend on how the record is parsed.
        added = len(serializers.dumps(text).encode())
        if added > room:
            raise PayloadTooLarge(
                f"member {index} of group {group} is {added} bytes, and the result store takes at most {room}: set "
                "TASKQ_PAYLOADS to a bucket for larger members, or store its arguments elsewhere and send their "
                "location"
            )
        if texts and (size + added > room or len(texts) == PAGE_MEMBERS):
            yield _page(group, first, texts)
            first, size, texts = index, 0, []
        texts.append(text)
        size += added
    if texts:
        yield _page(group, first, texts)


def check_carried(group: str, carried: Any, pages: Sequence[PageReference]) -> None:
    """Check the size of messages that all carry the same: the chord's body, and the arguments of the stage before.

    Args:
        group: the group's id.
        carried: the values that each message carries.
        pages: the group's pages. Each of them has a message, and each of their members.

    Raises:
        PayloadTooLarge: the messages of all pages, or those of a page's members, have more than ``LARGEST_SENT_BYTES``;
            names the group and the way out.
    """
    size = _size(carried)
    messages = max(len(pages), *(page.size for page in pages))
    if size * messages > LARGEST_SENT_BYTES:
        raise PayloadTooLarge(
            f"{messages} messages of group {group} would each carry {size} bytes of arguments and chord body, and "
            f"together at most {LARGEST_SENT_BYTES} are sent: store large values elsewhere and send their location"
        )


def check_sent(group: str, messages: Iterable[Message]) -> None:
    """Check the size of all messages that a page's members lead to.

    A member may be a group itself, whose members all carry its chord's body, so that a page leads to far more than it
    holds.

    Args:
        group: the group's id.
        messages: the messages.

    Raises:
        PayloadTooLarge: they have more than ``LARGEST_SENT_BYTES``; names the group and the way out.
    """
    sizes: dict[int, int] = {}  # by identity, as messages share what they carry
    total = 0
    for message in messages:
        embed = message.embed
        for part in (message.args, message.kwargs, embed.chord, embed.chain, embed.callbacks, embed.errbacks):
            if part:
                total += sizes.get(id(part)) or sizes.setdefault(id(part), _size(part))
        if total > LARGEST_SENT_BYTES:
            raise PayloadTooLarge(
                f"the messages of a page of group {group} have more than {LARGEST_SENT_BYTES} bytes, as each member of "
                "a group inside it carries the body of its chord: store large values elsewhere and send their location"
            )


def call_header(first: TaskStage) -> dict[str, Any]:
    """The header that tells a call of a group whose id was given from others with the id, as its first task has it."""
    headers = first.options.get("headers") or {}
    return {CALL: headers[CALL]} if CALL in headers else {}


def record_id(group: str, first: int) -> str:
    """The id of a page's record, from the lineage of the group's id and the index of the page's first member."""
    return f"{FAN_OUT}-{derived_id(group, 'page', first)}"


def sent_record(group: str, page: PageReference, now: float) -> Record:
    """The small, final record that replaces a page once its members are sent."""
    return _record(group, page, SUCCESS, f"{page.size} members sent", now)


def read(record: Record | None, group: str, page: PageReference) -> list[Signature]:
    """Read the members of a stored page.

    Args:
        record: the page's record; None: it is not in the store.
        group: the group's id.
        page: the page as the message names it.

    Raises:
        DecodeError: the record is gone, or isn't the page that the message names.
    """
    if record is None:
        raise DecodeError(
            f"members {page.first} to {page.first + page.size - 1} of group {group} can't be sent: their record "
            f"{record_id(group, page.first)} is gone from the result store"
        )
    text: Any = document.of(record).get("result")
    if not isinstance(text, str) or hashlib.sha256(text.encode()).hexdigest() != page.sha256:
        raise DecodeError(f"the stored page {record.id} is not the one that the message names: it has been altered")
    members: Any = serializers.loads(text)
    if not isinstance(members, list) or len(members) != page.size:
        raise DecodeError(f"the stored page {record.id} doesn't have the {page.size} members that the message names")
    return members


def _size(value: Any) -> int:
    try:
        return len(serializers.dumps(value))
    except EncodeError:
        return len(repr(value))  # the message's own serializer may write it


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
