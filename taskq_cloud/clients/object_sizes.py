"""Compares the size of an object in S3 with the range that is asked for, before any of its content is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from taskq_cloud.clients.base import too_large
from taskq_cloud.core.flows import Call, CallError

_RANGE: Final = re.compile(r"bytes=0-(\d+)")
"""A range that reads at most so many bytes of an object, and one byte more if it has more."""

_NUMBER: Final = re.compile(r"[0-9]{1,18}")


def size_error(call: Call, content_range: str, content_length: int) -> CallError | None:
    """Return the error for an object that is larger than the range that was asked for; None: it isn't.

    Args:
        call: the call.
        content_range: the answer's range: ``bytes 0-99/2000000000``. An endpoint that knows no ranges sends the whole
            object, without this header.
        content_length: the number of the answer's bytes.
    """
    wanted = _RANGE.fullmatch(call.parameters.get("Range", ""))
    if wanted is None:
        return None
    total = content_range.rpartition("/")[2]
    size = int(total) if _NUMBER.fullmatch(total) else content_length
    return too_large(call, f"{size:,}") if size > int(wanted[1]) else None


def refuse_large(call: Call, status: int, headers: Mapping[str, str]) -> CallError | None:
    """Return the error for an answer with too large an object, given its status and its headers."""
    if status not in (200, 206):
        return None
    length = headers.get("content-length", "0")
    return size_error(call, headers.get("content-range", ""), int(length) if _NUMBER.fullmatch(length) else 0)
