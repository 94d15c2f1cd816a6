"""``app.transaction(connection)``: the calls of a block are sent in the caller's own database transaction.

The broker's flow is that of any call. Its statements are executed on the caller's connection instead of one of ours, so
that the message is there if and when the caller's transaction is committed. The notification that wakes the workers is
part of that transaction, too. All other calls, such as those to a bucket of large payloads, are made as usual.
"""

from __future__ import annotations

import asyncio
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from taskq_cloud.clients.base import Operation
from taskq_cloud.clients.callers_connections import (
    CallersConnection,
    NotInTransaction,
    at_once,
    callers_connection,
    on_loop,
)
from taskq_cloud.core.flows import Call, Flow, arun, retrying, run
from taskq_cloud.core.ports import Broker
from taskq_cloud.core.servers.postgresql import Place, SendsInTransactions
from taskq_cloud.core.urls import without_secrets
from taskq_cloud.errors import ImproperlyConfigured, OperationalError
from taskq_cloud.runtime.open_transactions import OPEN, OpenTransaction

if TYPE_CHECKING:
    from taskq_cloud.runtime.resources import Resources

T = TypeVar("T")

_WITHIN: Final = "the caller's transaction"
"""The name of the service that stands for the caller's connection."""

_CHECKED: Final[weakref.WeakKeyDictionary[Any, tuple[Broker, Place]]] = weakref.WeakKeyDictionary()
"""Open connections of callers -> the broker and its place that they lead to, so that each is asked once."""


class Transaction:
    """A block whose calls are sent in a caller's own transaction: ``with app.transaction(connection):``.

    Args:
        app: the application.
        connection: the caller's connection or session.
    """

    def __init__(self, app: Resources, connection: Any) -> None:
        self.app = app
        self.is_open = False
        self._given = connection
        self._connection: CallersConnection | None = None
        self._broker: Broker | None = None
        self._outer: tuple[OpenTransaction, ...] = ()
        self._turn = asyncio.Lock()

    @property
    def broker(self) -> Broker:
        """The broker that sends in the transaction; the application's own while the transaction is checked."""
        return self._broker or self.app.broker

    def __enter__(self) -> Self:
        if not self.app.conf.task_always_eager:
            connection = self._begin()
            self._enter(run(self._checked(connection), self._perform))
        return self

    async def __aenter__(self) -> Self:
        if not self.app.conf.task_always_eager:
            connection = self._begin()
            self._enter(await arun(self._checked(connection), self._aperform))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.is_open:
            self.is_open = False
            OPEN.set(self._outer)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def run(self, flow: Flow[T]) -> T:
        """Drive a flow in this thread: see ``OpenTransaction.run``."""
        return run(retrying(flow, longest_seconds=self.app.conf.service_timeout), self._perform)

    async def arun(self, flow: Flow[T]) -> T:
        """Drive a flow on the running event loop: see ``OpenTransaction.arun``."""
        return await arun(retrying(flow, longest_seconds=self.app.conf.service_timeout), self._aperform)

    def _begin(self) -> CallersConnection:
        if not isinstance(self.app.broker, SendsInTransactions):
            url = without_secrets(self.app.conf.broker)
            raise ImproperlyConfigured(
                f"app.transaction needs a broker in PostgreSQL, and the broker is {url}: no transaction of a database "
                "can send its messages; call the task after the commit instead"
            )
        self._connection = callers_connection(self._given)
        return self._connection

    def _enter(self, place: Place) -> None:
        assert isinstance(self.app.broker, SendsInTransactions)  # _begin has checked it
        self._broker = self.app.broker.within(_WITHIN, place)
        self.is_open, self._outer = True, OPEN.get()
        OPEN.set((*self._outer, self))

    def _checked(self, connection: CallersConnection) -> Flow[Place]:
        """Find the broker's place, and check that a transaction is open there on the caller's connection."""
        broker = self.app.broker
        assert isinstance(broker, SendsInTransactions)  # _begin has checked it
        try:
            yield Call(_WITHIN, "begun")
        except NotInTransaction as error:
            raise OperationalError(f"app.transaction: calls can't be sent on this connection: {error}") from None
        known = None if connection.physical is None else _CHECKED.get(connection.physical)
        if known is not None and known[0] is broker:
            return known[1]
        place = yield from retrying(broker.place())
        [[found]] = yield Call(_WITHIN, "query", {"statements": [(broker.identity, {})]})
        if found != place.identity:
            raise OperationalError(
                "app.transaction: the connection leads to another database than the broker, which is "
                f"{without_secrets(self.app.conf.broker)}; the connection's is {found['database']!r}"
            )
        if connection.physical is not None:
            _CHECKED[connection.physical] = broker, place
        return place

    def _perform(self, step: Any) -> Any:
        if isinstance(step, Call) and step.service == _WITHIN:
            return at_once(self._steps(step))
        return self.app.connections.perform(step)

    async def _aperform(self, step: Any) -> Any:
        if isinstance(step, Call) and step.service == _WITHIN:
            async with self._turn:  # most connections refuse a statement while another is under way
                return await on_loop(self._steps(step))
        return await self.app.async_connections.perform(step)

    def _steps(self, call: Call) -> Operation:
        connection = self._connection
        assert connection is not None  # _begin has set it
        if call.operation == "begun":
            return (yield from connection.begun())
        rows: list[list[dict[str, Any]]] = []
        *before, (last, parameters) = call.parameters["statements"]
        for statement in before:
            found = yield from connection.steps(*statement)
            rows.append(found)
        topics = call.parameters.get("announce", ())
        if not topics:
            return [*rows, (yield from connection.steps(last, parameters))]
        # In one statement with the one that inserts the messages, to save a round trip.
        yield from connection.steps(_ANNOUNCED.format(sql=last), {**parameters, "topic": topics[0]})
        return [*rows, []]


_ANNOUNCED: Final = "WITH sent AS ({sql}) SELECT pg_notify(%(topic)s::text, '') AS announced"
