"""One connection to RabbitMQ without its socket: bytes come in by ``feed``, and ``out`` holds the bytes to be sent.

Operations are generators that yield ``(waiting, seconds)`` and are sent whether the answer came in time. So a thread
(``rabbitmq_sockets``) and an event loop (``rabbitmq_loop``) drive one implementation. Publishing and consuming are in
modules of their own.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from taskq_cloud.clients import rabbitmq_frames as frames
from taskq_cloud.clients.rabbitmq_frames import Content, FrameError, FrameReader, Method
from taskq_cloud.clients.rabbitmq_settings import Settings

Publishing: TypeAlias = Any
"""``rabbitmq_publishing.Publishing``, whose module imports this one."""
Consumption: TypeAlias = Any
"""``rabbitmq_consuming.Consumption``, whose module imports this one."""

T = TypeVar("T")

_FRAME_MAX: Final = 131_072
"""RabbitMQ's default."""
_CHANNEL_MAX: Final = 2_047
"""RabbitMQ's default."""
_PROPERTIES: Final = {
    "product": "taskq-cloud",
    "capabilities": {
        "publisher_confirms": True,
        "basic.nack": True,
        "consumer_cancel_notify": True,
        "connection.blocked": True,
        "authentication_failure_close": True,
    },
}

_BY_CONNECTION: Final = frozenset({"connection.start", "connection.tune", "connection.open-ok", "connection.close-ok"})


class SessionError(Exception):
    """An operation failed; ``code`` names the reason as the server does, or is a word of ours."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class LostError(SessionError):
    """The connection is gone, or has given no answer in time."""

    def __init__(self, text: str) -> None:
        super().__init__("ConnectionLost", text)


class RefusedError(SessionError):
    """The server has closed the channel or the connection for a reason.

    Args:
        number: AMQP's reply code.
        text: the server's words, ``"NOT_FOUND - no queue 'x' in vhost '/'"``.
    """

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text.partition(" - ")[0] or str(number), text)
        self.number = number


class Waiting:
    """An answer that is to come. ``then`` is called when it is there, and ``wake`` as well, which is the driver's."""

    __slots__ = ("answer", "done", "error", "then", "wake")

    def __init__(self) -> None:
        self.done = False
        self.answer: Any = None
        self.error: Exception | None = None
        self.then: Callable[[], object] | None = None
        self.wake: Callable[[], object] | None = None

    def set(self, answer: Any = None) -> None:
        """Say that the answer is there."""
        if not self.done:
            self.done, self.answer = True, answer
            if self.then is not None:
                self.then()
            if self.wake is not None:
                self.wake()

    def fail(self, error: Exception) -> None:
        """Say that there is no answer, and why."""
        self.error = self.error or error
        self.set()


Steps: TypeAlias = Generator[tuple[Waiting, float], bool, T]
"""An operation: yields what it waits for and for how many seconds, and is sent whether it came."""


def answer(waiting: Waiting, seconds: float) -> Steps[Any]:
    """Wait for an answer.

    Raises:
        LostError: it didn't come in time.
        SessionError: the server refuses, or the connection is gone.
    """
    if not (waiting.done or (yield waiting, seconds)):
        raise LostError(f"no answer within {seconds:g} s")
    if waiting.error is not None:
        raise waiting.error
    return waiting.answer


class Session:
    """The state of one connection.

    Args:
        settings: how the connection is made.
        lingers: whether consumers go on for a while after a receive; only for an event loop, whose ``tick`` ends them.
    """

    def __init__(self, settings: Settings, *, lingers: bool) -> None:
        self.id = os.urandom(4).hex()
        self.settings = settings
        self.lingers = lingers
        self.out: list[bytes] = []
        self.lost: Exception | None = None
        self.blocked: str | None = None
        self.frame_max = _FRAME_MAX
        self.heartbeat = 0
        self.declared: set[str] = set()
        self.publishing: Publishing | None = None
        self.unconfirmed: Publishing | None = None
        self.consumptions: dict[str, Consumption] = {}
        self.put_back: Callable[[Consumption, Sequence[Any]], object] | None = None
        """Publishes messages that nobody has taken once more, and settles them; None: they are given back."""
        self._by_channel: dict[int, Consumption] = {}
        self._reader = FrameReader()
        self._waiting: dict[int, deque[Waiting]] = {0: deque()}
        self._channels = 0
        self._channel_max = _CHANNEL_MAX
        self._admin: int | None = None

    def open(self, password: str, seconds: float) -> Steps[None]:
        """Say hello, log in and open the virtual host.

        Raises:
            RefusedError: the password is wrong, or the virtual host doesn't exist or may not be used.
        """
        settings = self.settings
        self.out.append(frames.PROTOCOL_HEADER)
        mechanisms = (yield from answer(self._expect(0), seconds))[3].decode().split()
        mechanism, response = "PLAIN", f"\0{settings.user}\0{password}".encode()
        if settings.external:
            mechanism, response = "EXTERNAL", b""
        if mechanism not in mechanisms:
            raise RefusedError(403, f"ACCESS_REFUSED - the server takes {', '.join(mechanisms)}, not {mechanism}")
        self.out.append(
            frames.method(
                0, "connection.start-ok", {**_PROPERTIES, **settings.properties}, mechanism, response, "en_US"
            )
        )
        channel_max, frame_max, heartbeat = yield from answer(self._expect(0), seconds)
        self.frame_max = min(frame_max or _FRAME_MAX, _FRAME_MAX)
        self._channel_max = channel_max or _CHANNEL_MAX
        if self.lingers:  # a thread that isn't in a call sends no heartbeats, so it asks for none
            self.heartbeat = min(filter(None, (heartbeat, settings.heartbeat)), default=0) if settings.heartbeat else 0
        self.out.append(frames.method(0, "connection.tune-ok", self._channel_max, self.frame_max, self.heartbeat))
        yield from answer(self.ask(0, "connection.open", settings.virtual_host, "", frames.OFF), seconds)

    def ask(self, channel: int, name: str, *arguments: Any) -> Waiting:
        """Send a method that the server answers."""
        self.out.append(frames.method(channel, name, *arguments))
        return self._expect(channel)

    def close_connection(self, seconds: float) -> Steps[None]:
        """Say goodbye: the server has handled all acknowledgements once it answers."""
        if self.lost is None:
            yield from answer(self.ask(0, "connection.close", 200, "", 0, 0), seconds)

    def open_channel(self) -> int:
        """Open a channel, without waiting for the answer.

        Raises:
            LostError: the connection has no more channels; a new one will.
        """
        self._channels += 1
        if self._channels > self._channel_max:
            self.fail(LostError("the connection has used up its channels"))
            raise LostError("the connection has used up its channels")
        self._waiting[self._channels] = deque()
        self.ask(self._channels, "channel.open", "")
        return self._channels

    def opening(self, channel: int) -> Waiting:
        """The server's answer to the opening of a channel that was opened just now."""
        return self._waiting[channel][0]

    def open_for(self, consumption: Consumption) -> int:
        """Open the channel of a consumption, which is given the channel's deliveries."""
        channel = self.open_channel()
        self._by_channel[channel] = consumption
        return channel

    def consumption_of(self, channel: int) -> Consumption | None:
        """The consumption of a channel, unless the channel has been closed."""
        return self._by_channel.get(channel)

    def ask_all(self, methods: Sequence[tuple[Any, ...]], seconds: float) -> Steps[list[Any]]:
        """Send methods of administration at once, and wait for all answers."""
        if self._admin is None:
            self._admin = self.open_channel()
        asked = [self.ask(self._admin, *each) for each in methods]
        answers: list[Any] = [None] * len(asked)
        for place, each in enumerate(asked):
            answers[place] = yield from answer(each, seconds)
        return answers

    def feed(self, data: bytes) -> None:
        """Take bytes that came from the server."""
        try:
            for each in self._reader.feed(data):
                if type(each) is Content:
                    self._take_content(each)
                else:
                    self._take_method(each)  # type: ignore[arg-type] # it is a Method
        except (FrameError, LookupError, ValueError, struct.error) as error:
            self.fail(LostError(f"the server's bytes can't be understood: {error}"))
        for consumption in self._by_channel.values():
            consumption.wake()

    def fail(self, error: Exception) -> None:
        """End the session: everything that waits gets the error."""
        if self.lost is not None:
            return
        self.lost = error
        for channel in list(self._waiting):
            self._fail_channel(channel, error)

    def tick(self, monotonic: float) -> None:
        """Do what is due: consumers that nobody waits for end, and deliveries whose leases are over go back.

        Args:
            monotonic: the monotonic clock, in seconds.
        """
        for consumption in list(self.consumptions.values()):
            consumption.stop_if_idle(monotonic)
            consumption.give_back_expired(monotonic + consumption.clock_offset)

    def _expect(self, channel: int) -> Waiting:
        waiting = Waiting()
        if self.lost is not None:
            waiting.fail(self.lost)
        else:
            self._waiting[channel].append(waiting)
        return waiting

    def _take_content(self, content: Content) -> None:
        channel, name = content.method.channel, content.method.name
        if name == "basic.deliver":
            self._by_channel[channel].deliver(content)
        elif name == "basic.get-ok":
            self._waiting[channel].popleft().set(self._by_channel[channel].fetched(content))
        elif self.unconfirmed is not None and self.unconfirmed.channel == channel:
            self.declared.clear()  # a queue was deleted, and is declared before the next message
        elif self.publishing is not None:
            self.publishing.returned(content)

    def _take_method(self, method: Method) -> None:
        channel, name, arguments = method
        if name in ("basic.ack", "basic.nack"):
            if self.publishing is not None:
                self.publishing.confirmed(arguments[0], multiple=arguments[1], accepted=name == "basic.ack")
        elif name == "channel.close":
            self._close_channel(channel, RefusedError(arguments[0], arguments[1]))
        elif name == "connection.close":
            self.out.append(frames.method(0, "connection.close-ok"))
            self.fail(RefusedError(arguments[0], arguments[1]))
        elif name == "connection.blocked":
            self.blocked = arguments[0]
        elif name == "connection.unblocked":
            self.blocked = None
        elif name == "basic.cancel":
            self._by_channel[channel].cancelled(arguments[0])
        elif name == "channel.flow":
            self.out.append(frames.method(channel, "channel.flow-ok", arguments[0]))
        elif name.endswith("-ok") or name == "basic.get-empty" or name in _BY_CONNECTION:
            self._waiting[channel].popleft().set(arguments)

    def _close_channel(self, channel: int, error: RefusedError) -> None:
        if channel in self._waiting:  # the server may say so twice, and closes the connection for a second answer
            self.out.append(frames.method(channel, "channel.close-ok"))
            self._fail_channel(channel, error)

    def _fail_channel(self, channel: int, error: Exception) -> None:
        waiting = self._waiting.pop(channel, ())
        if channel == self._admin:
            self._admin = None
        if self.publishing is not None and self.publishing.channel == channel:
            publishing, self.publishing = self.publishing, None
            publishing.fail(error)
        if self.unconfirmed is not None and self.unconfirmed.channel == channel:
            self.unconfirmed = None
            self.declared.clear()
        if channel in self._by_channel:
            consumption = self._by_channel.pop(channel)
            queue: str = consumption.queue
            if self.consumptions.get(queue) is consumption:
                del self.consumptions[queue]
            consumption.fail(error)
        for each in waiting:
            each.fail(error)
