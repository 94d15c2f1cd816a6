"""Hears what is published on Redis's channels, for those who wait for it.

All listeners of an event loop share one connection, which is subscribed to their topics. When it breaks, everybody is
woken, since a message may have gone unheard, and it is opened again as long as somebody listens. Threads share one
event loop in a thread of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from taskq_cloud.clients.redis_protocol import packed
from taskq_cloud.core.flows import Call, CallError
from taskq_cloud.core.model.announcements import Announcements

if TYPE_CHECKING:
    from taskq_cloud.clients.redis_sockets import AsyncConnection
    from taskq_cloud.core.model.announcements import Listener

REOPEN_SECONDS: Final = 1.0
"""The pause before a broken connection is opened again."""

QUIET_SECONDS: Final = 15.0
"""A connection on which nothing came for so long is asked for a sign of life; it is given up after twice that time."""


class Channels:
    """The topics that the listeners of one event loop wait for.

    Args:
        connect: opens a connection, given the call that needs it.
    """

    def __init__(self, connect: Callable[[Call], Awaitable[AsyncConnection]]) -> None:
        self._connect = connect
        self._here = Announcements()
        self._listening: dict[str, int] = {}
        self._confirmed: dict[str, asyncio.Future[None]] = {}
        self._connection: AsyncConnection | None = None
        self._heard_at = 0.0
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._closed = False

    async def listen(self, call: Call) -> bool:
        """Let the call's ``listener`` hear of its ``topics`` until it is closed; False: it can't hear of them here."""
        listener: Listener = call.parameters["listener"]
        topics: Mapping[str, str] = call.parameters["topics"]
        try:
            connection = await self._open(call)
        except CallError:
            return False  # those who wait look by themselves now and then
        for topic in topics:
            self._listening[topic] = self._listening.get(topic, 0) + 1
        self._here.enter(listener, call.parameters["topics"])
        names = tuple(topics)
        listener.on_close(lambda: self._leave_soon(names))
        waiting = [self._subscribe(connection, topic) for topic in names]
        if not waiting:
            return True
        done, _ = await asyncio.wait(waiting, timeout=connection.timeout_seconds)
        return len(done) == len({*waiting}) and not any(future.cancelled() for future in done)

    async def close(self) -> None:
        """Close the connection."""
        self._closed = True
        for task in tuple(self._tasks):
            task.cancel()
        if self._connection is not None:
            self._connection.close()

    async def _open(self, call: Call) -> AsyncConnection:
        connection = self._connection
        if connection is not None and not connection.closed:
            return connection
        async with self._opening:
            connection = self._connection
            if connection is None or connection.closed:
                connection = self._connection = await self._connect(call)
                connection.hear(self._hear, self._lost)
                self._heard_at = self._loop.time()
                self._start(self._watch(connection, call))
            return connection

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _subscribe(self, connection: AsyncConnection, topic: str) -> asyncio.Future[None]:
        confirmed = self._confirmed.get(topic)
        if confirmed is None:
            confirmed = self._confirmed[topic] = self._loop.create_future()
            connection.write(packed([["SUBSCRIBE", topic]]))
        return confirmed

    def _hear(self, message: Any) -> None:
        self._heard_at = self._loop.time()
        match message:
            case [bytes(kind), bytes(channel), _]:
                topic = channel.decode(errors="replace")
            case _:  # an answer to PING
                return
        if kind == b"message":
            self._here.announce([topic])
        elif kind == b"subscribe":
            confirmed = self._confirmed.get(topic)
            if confirmed is not None and not confirmed.done():
                confirmed.set_result(None)

    def _lost(self) -> None:
        confirmed, self._confirmed = self._confirmed, {}
        for future in confirmed.values():
            future.cancel()
        self._here.announce_all()

    def _leave_soon(self, topics: tuple[str, ...]) -> None:
        # A listener may be closed by another thread, or after the end of its loop.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._leave, topics)

    def _leave(self, topics: tuple[str, ...]) -> None:
        for topic in topics:
            left = self._listening.get(topic, 1) - 1
            if left > 0:
                self._listening[topic] = left
                continue
            self._listening.pop(topic, None)
            if self._confirmed.pop(topic, None) is not None and self._connection is not None:
                self._connection.write(packed([["UNSUBSCRIBE", topic]]))

    async def _watch(self, connection: AsyncConnection, call: Call) -> None:
        """Ask for signs of life, and open the connection again when it has broken while somebody listens."""
        while not connection.closed:
            quiet_seconds = self._loop.time() - self._heard_at
            if quiet_seconds >= 2 * QUIET_SECONDS:
                connection.close()
            elif quiet_seconds >= QUIET_SECONDS:
                connection.write(packed([["PING"]]))
            await asyncio.sleep(REOPEN_SECONDS)
        while self._listening and not self._closed:
            try:
                opened = await self._open(call)
            except CallError:
                await asyncio.sleep(REOPEN_SECONDS)
                continue
            for topic in self._listening:
                self._subscribe(opened, topic)
            self._here.announce_all()
            return


class ThreadChannels:
    """The topics that the listeners of threads wait for, heard by an event loop in a thread of its own.

    Args:
        make_client: makes the client of an event loop.
    """

    def __init__(self, make_client: Callable[[], Any]) -> None:
        self._make_client = make_client
        self._loop = asyncio.new_event_loop()
        self._client: Any = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="taskq-redis-channels", daemon=True)
        self._thread.start()

    def listen(self, call: Call) -> bool:
        """Let the call's ``listener`` hear of its ``topics``; see ``Channels.listen``."""
        return asyncio.run_coroutine_threadsafe(self._listen(call), self._loop).result()

    def close(self) -> None:
        """Close the connection, and end the thread."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self, call: Call) -> bool:
        if self._client is None:
            self._client = self._make_client()
        heard: bool = await self._client.call(call)
        return heard

    async def _end(self) -> None:
        if self._client is not None:
            await self._client.close()
