"""Exchanges requests for answers on an event loop, over connections that are kept alive.

A transport gives its bytes to the reader of the answer directly, and one timer for each connection watches over all
waits on it. ``asyncio``'s streams take as much CPU time before they have either.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from taskq_cloud.clients.lean.answers import Answer, AnswerReader, BrokenAnswerError, Look
from taskq_cloud.clients.lean.endpoints import (
    LARGEST_POOL,
    NOT_CONNECTED,
    Endpoint,
    no_answer,
    not_connected,
    tls_context,
)
from taskq_cloud.clients.lean.idle import IdleConnections
from taskq_cloud.clients.lean.sockets import PIECE_BYTES, bound_unsent
from taskq_cloud.core.flows import CallError

_NEXT_ADDRESS_SECONDS: Final = 0.25
"""How long a connection may take to open before the host's next address is tried as well (RFC 8305, section 5)."""


class LoopConnections:
    """The connections to one endpoint, used on one event loop.

    Args:
        endpoint: the endpoint.
        connect_seconds: how long it may take to open a connection.
    """

    def __init__(self, endpoint: Endpoint, connect_seconds: float) -> None:
        self._endpoint = endpoint
        self._connect_seconds = connect_seconds
        self._idle: IdleConnections[_Connection] = IdleConnections()
        self._places = asyncio.Semaphore(LARGEST_POOL)
        self._closed = False

    async def exchange(self, head: bytes, body: bytes, seconds: float, look: Look | None = None) -> Answer:
        """Send a request once, and return its answer: see ``sockets.Sockets.exchange``."""
        async with self._places:
            kept = self._idle.take()
            connection, begun = kept or await self._open(), self._idle.clock()
            reader = AnswerReader(look)
            try:
                await connection.exchange(head, body, seconds, reader)
            except BaseException as error:
                connection.close()  # also when the task was cancelled
                if not isinstance(error, OSError | BrokenAnswerError):
                    raise
                if kept is not None:
                    self._idle.close_unused_since(begun)
                raise no_answer(self._endpoint, error) from error
            if reader.keeps_connection and not self._closed:
                self._idle.put(connection)
            else:
                connection.close()
            return reader.answer()

    async def close(self) -> None:
        """Close the connections; those in use are closed after their exchange."""
        self._closed = True
        if idle := self._idle.close():
            await asyncio.wait([each.lost for each in idle], timeout=1)

    async def _open(self) -> _Connection:
        endpoint, loop = self._endpoint, asyncio.get_running_loop()
        context = tls_context(endpoint)
        more: dict[str, Any] = {}
        if context is not None:
            more = {"ssl": context, "server_hostname": endpoint.host}
        if isinstance(loop, asyncio.BaseEventLoop):  # uvloop knows no such option
            more["happy_eyeballs_delay"] = min(_NEXT_ADDRESS_SECONDS, self._connect_seconds / 8)
        try:
            async with asyncio.timeout(self._connect_seconds):
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop), endpoint.host, endpoint.port, **more
                )
        except NOT_CONNECTED as error:
            raise not_connected(endpoint, error) from error
        return connection


class _Connection(asyncio.Protocol):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.lost: asyncio.Future[None] = loop.create_future()
        self.ended = False
        self._loop = loop
        self._transport: Any = None
        self._reader: AnswerReader | None = None
        self._complete: asyncio.Future[None] | None = None
        self._heard = self._seconds = 0.0
        self._unsent = memoryview(b"")
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None

    async def exchange(self, head: bytes, body: bytes, seconds: float, reader: AnswerReader) -> None:
        if not self.is_open():
            raise BrokenAnswerError("the connection has ended")
        self._reader, self._complete = reader, self._loop.create_future()
        self._heard, self._seconds = self._loop.time(), seconds
        self._watch(self._heard + seconds)
        try:
            if len(body) <= PIECE_BYTES:
                self._transport.write(head + body)
            else:
                self._transport.write(head)
                self._unsent = memoryview(body)
                self._write()
            await self._complete
            if self._unsent:  # the server has refused the rest
                reader.keeps_connection = False
        finally:
            self._reader = self._complete = None
            self._unsent = self._unsent[:0]

    def is_open(self) -> bool:
        """Whether the connection can be used: the server hasn't ended it."""
        return not self.lost.done() and not self.ended

    def close(self) -> None:
        """Close the connection without a farewell, which would take further turns of the loop."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        bound_unsent(transport.get_extra_info("socket"))
        transport.set_write_buffer_limits(high=PIECE_BYTES // 2)  # TLS lets four times a piece wait by default

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._heard = self._loop.time()  # what was written has gone
        self._write()

    def data_received(self, data: bytes) -> None:
        if self._reader is None:  # nobody has asked for anything
            self.ended = True
            return
        self._heard = self._loop.time()
        try:
            if self._reader.feed(data):
                self._finish(None)
        except (BrokenAnswerError, CallError) as error:
            self._finish(error)

    def eof_received(self) -> None:
        self._end(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error)
        if self._timer is not None:
            self._timer.cancel()
        if not self.lost.done():
            self.lost.set_result(None)

    def _end(self, error: Exception | None) -> None:
        self.ended = True
        if self._reader is None:
            return
        if error is None and self._reader.end():
            self._finish(None)
        else:
            missing = "its end is missing" if self._reader.begun else "there is no answer"
            self._finish(error or BrokenAnswerError(missing))

    def _write(self) -> None:
        """Write pieces of a large body until one has to wait. TLS wouldn't tell how much of a whole body has gone."""
        while self._unsent and not self._paused and not self._transport.is_closing():
            piece, self._unsent = self._unsent[:PIECE_BYTES], self._unsent[PIECE_BYTES:]
            self._transport.write(piece)

    def _watch(self, due: float) -> None:
        """See to it that ``_check`` is called by then. A timer outlasts its exchange: a new one costs more."""
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._check)

    def _check(self) -> None:
        """End the exchange if nothing has come or gone for too long, or look again later."""
        self._timer = None
        if self._complete is None:
            return
        due = self._heard + self._seconds
        if self._loop.time() < due:
            self._watch(due)
        else:
            self._finish(TimeoutError())

    def _finish(self, error: Exception | None) -> None:
        if self._complete is not None and not self._complete.done():
            if error is None:
                self._complete.set_result(None)
            else:
                self._complete.set_exception(error)
