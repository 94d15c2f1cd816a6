"""A task's place in a chord's header, read from its message: what ``planner`` has written there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from taskq_cloud.core.header_values import text_bytes
from taskq_cloud.core.ids import derived_id
from taskq_cloud.core.lines import Line
from taskq_cloud.core.message import Signature
from taskq_cloud.core.planner import fix, member_id
from taskq_cloud.core.signatures import parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A task's place in a chord's header, as its message has it.

    Args:
        group: the header's id.
        index: the task's place.
        size: how many there are.
        body: what the chord waits to run.
        own_ids: of members whose ids are not made from the group's, by place.
    """

    group: str
    index: int
    size: int
    body: Line
    own_ids: Mapping[str, str]

    @classmethod
    def of(cls, group: Any, index: Any, chord: Signature) -> Membership:
        """Read it.

        Raises:
            TypeError, ValueError, LookupError, AttributeError: it makes no sense.
        """
        options = chord.get("options") or {}
        size, own_ids = options.get("chord_size"), options.get("chord_ids") or {}
        if not (isinstance(size, int) and isinstance(index, int) and 0 <= index < size and isinstance(group, str)):
            raise ValueError(f"no place in a chord: group {group!r:.100}, index {index!r:.100}, size {size!r:.100}")
        text_bytes("its group", group)
        body = fix(parse(chord), derived_id(group, "body"))
        return cls(group=group, index=index, size=size, body=body, own_ids={str(k): str(v) for k, v in own_ids.items()})

    def ids(self) -> Iterator[str]:
        """The ids of all members, in their order."""
        for index in range(self.size):
            yield self.own_ids.get(str(index)) or member_id(self.group, index)


def is_sized(chord: Signature) -> bool:
    """Whether a chord says how many members it has: Celery's don't."""
    return "chord_size" in (chord.get("options") or {})
