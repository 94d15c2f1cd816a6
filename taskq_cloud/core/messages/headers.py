"""The names of the protocol's own headers, which a caller's headers can't have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from taskq_cloud.core.model import payload_references
from taskq_cloud.core.security.signing import SIGNATURE_HEADER

RESERVED_HEADERS: Final = frozenset(
    [
        "lang",
        "task",
        "id",
        "shadow",
        "eta",
        "expires",
        "group",
        "group_index",
        "retries",
        "timelimit",
        "root_id",
        "parent_id",
        "argsrepr",
        "kwargsrepr",
        "origin",
        "ignore_result",
        "replaced_task_nesting",
        "stamped_headers",
        "stamps",
        "compression",
        SIGNATURE_HEADER,
        payload_references.REFERENCE_KEY,
    ]
)


def header_clash(headers: Iterable[str] | None) -> str | None:
    """Why the headers of a caller can't be sent: one of them is the protocol's own; None: they can."""
    own = RESERVED_HEADERS.intersection(headers or ())
    return f"header {min(own)!r} is one of the protocol's own; give yours another name" if own else None
