"""How long a call on AWS may wait, whichever driver makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from taskq_cloud.clients.base import shortest

CONNECT_TIMEOUT_SECONDS: Final = 5.0
READ_TIMEOUT_SECONDS: Final = 5.0
"""The longest wait for the next bytes of an answer. An endpoint that accepts connections and doesn't answer holds up a
caller for this long each time that ``core.flows.retrying`` makes the call."""
POLL_TIMEOUT_SECONDS: Final = 35.0
"""The longest wait for the answer to a long poll. SQS's longest poll takes 20 s (SQS Developer Guide, "Amazon SQS short
and long polling")."""


class Waits(NamedTuple):
    """How long a call may wait, in seconds.

    Args:
        connect: for a connection.
        read: for the next bytes of an answer.
        poll: for those of the answer to a long poll.
    """

    connect: float
    read: float
    poll: float


def waits_of(options: Mapping[str, Any]) -> Waits:
    """Return how long the calls of a client may wait, given the client's options."""
    read = options.get("read_timeout_seconds")
    return Waits(
        options.get("connect_timeout_seconds") or shortest(CONNECT_TIMEOUT_SECONDS, options, parts=2),
        read or shortest(READ_TIMEOUT_SECONDS, options, parts=2),
        read or POLL_TIMEOUT_SECONDS,
    )
