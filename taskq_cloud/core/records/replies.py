"""Results as replies: a store that sends the record of a task to the process that has called it."""

from __future__ import annotations

from typing import Protocol

from taskq_cloud.core.flows import Flow


class TakesReplies(Protocol):
    """A result store whose capability ``replies`` is set."""

    @property
    def reply_to(self) -> str:
        """The place where this process waits for records; its calls name it (``Message.reply_to``)."""
        ...

    def prepare(self) -> Flow[None]:
        """Make the place, before a call names it."""
        ...
