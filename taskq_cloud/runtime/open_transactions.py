"""The caller's own transactions in which calls are sent: see ``calling.transaction``.

A thread and a task of an event loop have their own. Tasks of an event loop that are started within a block, and
functions that it runs in threads, have that of the block.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final, Protocol, TypeVar

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.ports import Broker

T = TypeVar("T")


class OpenTransaction(Protocol):
    """A caller's transaction."""

    is_open: bool
    """Whether its block has not ended."""

    @property
    def app(self) -> Any:
        """The application whose calls are sent in it."""
        ...

    @property
    def broker(self) -> Broker:
        """The broker that sends in it."""
        ...

    def run(self, flow: Flow[T]) -> T:
        """Drive a flow in this thread: the broker's calls on the caller's connection, and all others as usual."""
        ...

    async def arun(self, flow: Flow[T]) -> T:
        """Drive a flow on the running event loop: see ``run``."""
        ...


OPEN: Final[ContextVar[tuple[OpenTransaction, ...]]] = ContextVar("taskq_open_transactions", default=())
"""The transactions of the blocks around the caller, the innermost one last."""


def transaction_of(app: object) -> OpenTransaction | None:
    """The transaction in which an application's calls are sent now; None: they are sent at once."""
    for each in reversed(OPEN.get()):
        if each.app is app and each.is_open:
            return each
    return None
