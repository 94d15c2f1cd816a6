"""Drives sessions on an event loop: a protocol of asyncio gives the session its bytes, and futures wake the flows."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any, TypeVar

from taskq_cloud.clients.rabbitmq_frames import HEARTBEAT
from taskq_cloud.clients.rabbitmq_session import LostError, Session, SessionError, Steps, Waiting
from taskq_cloud.clients.rabbitmq_settings import Settings

T = TypeVar("T")

_TICK_SECONDS = 0.5
_CLOSE_SECONDS = 1.0


class LoopConnection(asyncio.Protocol):
    """A connection that is used on one event loop; open it with ``connect``.

    Args:
        settings: how it is made.
    """

    def __init__(self, settings: Settings) -> None:
        self.session = Session(settings, lingers=True)
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._flushes = False
        self._heard = self._said = self._loop.time()

    @classmethod
    async def connect(cls, settings: Settings) -> LoopConnection:
        """Connect and log in; raises ``OSError``, ``TimeoutError`` and the session's errors."""
        loop = asyncio.get_running_loop()
        more: dict[str, Any] = {}
        if settings.tls is not None:
            more = {"ssl": settings.tls, "server_hostname": settings.host}
        async with asyncio.timeout(settings.connect_seconds):
            _, connection = await loop.create_connection(lambda: cls(settings), settings.host, settings.port, **more)
        try:
            await connection.run(connection.session.open(settings.password, settings.connect_seconds))
        except BaseException:
            connection.abort()
            raise
        connection.watch()
        return connection

    async def run(self, steps: Steps[T]) -> T:
        """Carry out an operation; raises its errors."""
        try:
            waiting, seconds = next(steps)
            while True:
                self.flush_soon()
                waiting, seconds = steps.send(waiting.done or await self._wait(waiting, seconds))
        except StopIteration as stop:
            result: T = stop.value
            return result
        except LostError as error:
            self.session.fail(error)
            self.abort()
            raise
        finally:
            steps.close()
            self.flush_soon()

    def is_open(self) -> bool:
        """Whether the connection can be used."""
        return self.session.lost is None

    async def close(self) -> None:
        """Say goodbye and close the socket."""
        with suppress(SessionError):
            await self.run(self.session.close_connection(_CLOSE_SECONDS))
        self._flush()
        self.session.fail(LostError("the connection is closed"))
        self.abort()

    def abort(self) -> None:
        """Close the socket at once."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Give bytes to the session."""
        self._heard = self._loop.time()
        self.session.feed(data)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all that wait."""
        text = "the server has closed the connection" if exc is None else f"the connection broke: {exc}"
        self.session.fail(LostError(text))

    async def _wait(self, waiting: Waiting, seconds: float) -> bool:
        future: asyncio.Future[None] = self._loop.create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        waiting.wake = wake
        timer = self._loop.call_later(seconds, wake)
        try:
            await future
        finally:
            timer.cancel()
        return waiting.done

    def flush_soon(self) -> None:
        """Write at the end of the loop's turn, so that operations of many tasks need one call of the system."""
        if self.session.out and not self._flushes:
            self._flushes = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushes = False
        session = self.session
        if session.out and self._transport is not None:
            data = b"".join(session.out)
            session.out.clear()
            self._said = self._loop.time()
            self._transport.write(data)

    def watch(self) -> None:
        """Do from time to time what is due: see ``Session.tick``; heartbeats."""
        session, now = self.session, self._loop.time()
        if session.lost is not None:
            return
        session.tick(time.monotonic())
        if session.heartbeat:
            if now - self._said >= session.heartbeat / 2:
                session.out.append(HEARTBEAT)
            if now - self._heard > 2 * session.heartbeat:
                session.fail(LostError(f"the server has been silent for {now - self._heard:.0f} s"))
                self.abort()
                return
        self._flush()
        self._timer = self._loop.call_later(_TICK_SECONDS, self.watch)
