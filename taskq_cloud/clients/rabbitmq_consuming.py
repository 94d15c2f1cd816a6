"""Consuming one queue: consumers whose prefetch follows what is asked for, a buffer, and acknowledgements.

The server hands over as many messages as receivers have asked for, and no more. If they want more than before, another
consumer gets the difference: the prefetch of one can't be changed, and a quorum queue takes back what is on its way to
one that ends. On an event loop, consumers go on for ``LINGER_SECONDS`` after a receive, since the next one is likely to
follow; messages that nobody has taken by then are put back. In a thread, they end with the receive. A lease ends by
itself: a delivery that is not settled in time is given back, before the server would close the channel with all its
deliveries.

The server counts a message that is given back as received, and nobody has seen one that is put back: so it is published
once more by ``Session.put_back``, and then acknowledged.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from taskq_cloud.clients import rabbitmq_frames as frames
from taskq_cloud.clients.rabbitmq_frames import Content
from taskq_cloud.clients.rabbitmq_session import RefusedError, Session, Steps, Waiting, answer
from taskq_cloud.core.servers.rabbitmq import DELIVERY_COUNT, RECEIVES

LINGER_SECONDS: Final = 1.0
MOST_CONSUMERS: Final = 4
LARGEST_PREFETCH: Final = 65_535
"""The largest prefetch that ``basic.qos`` can ask for."""


class Taken:
    """A message that the server has handed over and that isn't settled.

    Args:
        tag: its delivery tag.
        consumer: the tag of its consumer; empty if it was fetched.
        content: the message.
    """

    __slots__ = ("consumer", "content", "tag", "until")

    def __init__(self, tag: int, consumer: str, content: Content) -> None:
        self.tag = tag
        self.consumer = consumer
        self.content = content
        self.until = math.inf

    def unseen(self) -> dict[str, Any] | None:
        """The properties with which the message is published once more, as nobody has seen it; None: give it back.

        A classic queue tells that it has handed a message over before, and not how often. If it does so once more, that
        changes nothing.
        """
        method, properties = self.content.method, self.content.properties()
        headers = properties.get("headers") or {}
        count = headers.get(DELIVERY_COUNT)
        if count is None:
            redelivered = method.arguments[1 if method.name == "basic.get-ok" else 2]
            return None if redelivered else properties
        rest = {name: value for name, value in headers.items() if name != DELIVERY_COUNT}
        return {**properties, "headers": {**rest, RECEIVES: headers.get(RECEIVES, 0) + count}}


class Consumption:
    """The consumer of one queue, on a channel of its own.

    Args:
        session: the connection.
        queue: the queue's name at the server.

    Attributes:
        clock_offset: the caller's clock less the monotonic clock, at the last call that told the time.
    """

    def __init__(self, session: Session, queue: str) -> None:
        self.queue = queue
        self.clock_offset = 0.0
        self._session = session
        self._buffer: deque[Taken] = deque()
        self._outstanding: dict[int, Taken] = {}  # in the order of their tags
        self._receivers: list[tuple[Waiting, int]] = []
        # consumer -> how many more messages it may be given
        self._free: dict[str, int] = {}
        self._consumers = 0
        self._expires = math.inf
        self._idle_since = 0.0
        self.channel = session.open_for(self)

    def receive(self, limit: int, wait_seconds: float, now: float, until: float) -> Steps[list[Taken]]:
        """Take messages: see ``Broker.receive``.

        Args:
            limit: the most messages.
            wait_seconds: how long to wait for the first.
            now: seconds since the epoch.
            until: when their leases end, in seconds since the epoch.
        """
        self.clock_offset = now - time.monotonic()
        self.give_back_expired(now)
        found: list[Taken] = []
        if not self._buffer and (wait_seconds <= 0 or not self._session.lingers):
            found = yield from self._fetch(limit)
        if not found and not self._buffer and wait_seconds > 0:
            yield from self._wait(limit, wait_seconds)
        if not self._session.lingers and self._free and not self._receivers:
            yield from answer(self._stop(), self._session.settings.answer_seconds)
        while self._buffer and len(found) < limit:
            found.append(self._buffer.popleft())
        for each in found:
            each.until = until
        self._expires = min(self._expires, until)
        if not self._session.lingers:
            self._return_buffer()
        return found

    def deliver(self, content: Content) -> None:
        """Take a delivery."""
        consumer, tag = content.method.arguments[:2]
        taken = Taken(tag, consumer, content)
        self._outstanding[tag] = taken
        if consumer in self._free:
            self._free[consumer] -= 1
        self._buffer.append(taken)

    def fetched(self, content: Content) -> Taken:
        """Take a message that was fetched without a consumer."""
        tag = content.method.arguments[0]
        taken = self._outstanding[tag] = Taken(tag, "", content)
        return taken

    def wake(self) -> None:
        """Wake receivers, as many as there are messages for."""
        left = len(self._buffer)
        for waiting, limit in self._receivers:
            if left <= 0:
                break
            left -= limit
            waiting.set()

    def acknowledge(self, tags: Iterable[int]) -> list[bool]:
        """Acknowledge deliveries, many with one frame where their tags allow it; False: the lease was lost."""
        answers = []
        done = []
        for tag in tags:
            known = self._settled(tag)
            answers.append(known)
            if known:
                done.append(tag)
        if not done:
            return answers
        done.sort()
        first = next(iter(self._outstanding), None)
        together = done if first is None else [tag for tag in done if tag < first]
        out, channel = self._session.out, self.channel
        if together:
            out.append(frames.acknowledging(channel, together[-1], multiple=len(together) > 1))
        out += [frames.acknowledging(channel, tag, multiple=False) for tag in done[len(together) :]]
        return answers

    def give_back(self, tags: Iterable[int]) -> list[bool]:
        """Give deliveries back to the queue; False: the lease was lost."""
        answers = []
        for tag in tags:
            known = self._settled(tag)
            answers.append(known)
            if known:
                self._session.out.append(frames.method(self.channel, "basic.nack", tag, frames.OFF, frames.ON))
        return answers

    def extend(self, tags: Iterable[int], now: float, until: float) -> list[bool]:
        """Extend leases; False: the lease was lost. The clock may have been set back since they began."""
        self.clock_offset = now - time.monotonic()
        answers = []
        for tag in tags:
            taken = self._outstanding.get(tag)
            if taken is not None:
                taken.until = until
            answers.append(taken is not None)
        self._expires = min(self._expires, until)
        return answers

    def give_back_expired(self, now: float) -> None:
        """Give back the deliveries whose leases are over."""
        if now < self._expires:
            return
        over = [each.tag for each in self._outstanding.values() if each.until <= now]
        self.give_back(over)
        self._expires = min((each.until for each in self._outstanding.values()), default=math.inf)

    def stop(self) -> Steps[None]:
        """End the consumers, and put back the messages in the buffer."""
        if self._free:
            self._buffer += yield from self._fetch(1)  # see stop_if_idle
        if self._free:
            yield from answer(self._stop(), self._session.settings.answer_seconds)
        self._return_buffer()

    def stop_if_idle(self, monotonic: float) -> None:
        """End the consumers if nobody has asked for messages for a while, and put back those in the buffer.

        A quorum queue takes back what is on its way to a consumer that ends, and counts it. A message is fetched
        before, whose answer comes after what is on its way.
        """
        if not self._free or self._receivers or monotonic - self._idle_since < LINGER_SECONDS:
            return
        self._idle_since = monotonic
        fetched = self._session.ask(self.channel, "basic.get", 0, self.queue, frames.OFF)

        def end() -> None:
            if isinstance(fetched.answer, Taken):
                self._buffer.append(fetched.answer)
            if self._free and not self._receivers:
                self._stop().then = self._return_buffer

        fetched.then = end

    def cancelled(self, consumer: str) -> None:
        """Take the server's word that the consumer has ended: its queue is gone, or its node is."""
        if self._free.pop(consumer, None) is not None:
            self._session.declared.clear()
            self._fail_receivers(RefusedError(404, f"NOT_FOUND - the server has ended the consumer of {self.queue!r}"))

    def fail(self, error: Exception) -> None:
        """End: the channel or the connection is gone, and with it all deliveries."""
        self._free.clear()
        self._buffer.clear()
        self._outstanding.clear()
        self._fail_receivers(error)

    def _fail_receivers(self, error: Exception) -> None:
        for waiting, _ in self._receivers:
            waiting.fail(error)

    def _fetch(self, limit: int) -> Steps[list[Taken]]:
        """Fetch messages without a consumer: the first tells how many there are."""
        found: list[Taken] = []
        count = 1
        while count > 0 and len(found) < limit:
            asked = [self._session.ask(self.channel, "basic.get", 0, self.queue, frames.OFF) for _ in range(count)]
            left = 0
            for each in asked:
                taken: Any = yield from answer(each, self._session.settings.answer_seconds)
                if isinstance(taken, Taken):
                    found.append(taken)
                    left = taken.content.method.arguments[4]
            count = min(left, limit - len(found))
        return found

    def _wait(self, limit: int, wait_seconds: float) -> Steps[None]:
        ends_at = time.monotonic() + wait_seconds
        while not self._buffer and (left := ends_at - time.monotonic()) > 0:
            waiting = Waiting()
            receiver = (waiting, limit)
            self._receivers.append(receiver)
            try:
                self._ask_for_messages()
                yield waiting, left
            finally:
                self._receivers.remove(receiver)
                self._idle_since = time.monotonic()
            if waiting.error is not None:
                raise waiting.error

    def _ask_for_messages(self) -> None:
        """Consume with a prefetch that covers what the receivers want; the present one may do."""
        wanted = min(sum(limit for _, limit in self._receivers), LARGEST_PREFETCH)
        free = sum(self._free.values())
        # A new consumer costs frames, so a prefetch that is about right is left as it is.
        if free > 0 and wanted < 2 * free and wanted * 4 > free:
            return
        if wanted < free or len(self._free) == MOST_CONSUMERS:
            self._stop()
            free = 0
        session, channel = self._session, self.channel
        self._consumers += 1
        consumer = f"taskq-{session.id}-{self._consumers}"
        self._free[consumer] = wanted - free
        session.ask(channel, "basic.qos", 0, wanted - free, frames.OFF)
        off = frames.OFF  # not local, with acknowledgements, not exclusive; without an answer
        consume = frames.method(channel, "basic.consume", 0, self.queue, consumer, off, off, off, frames.ON, {})
        session.out.append(consume)

    def _stop(self) -> Waiting:
        """End the consumers. Messages may come until the server has answered."""
        asked = [self._session.ask(self.channel, "basic.cancel", each, frames.OFF) for each in self._free]
        self._free.clear()
        return asked[-1]

    def _return_buffer(self) -> None:
        """Put back the messages that nobody has taken, unless somebody will."""
        if self._receivers or self._free or not self._buffer:
            return
        taken = list(self._buffer)
        self._buffer.clear()
        put_back = self._session.put_back
        if put_back is None:
            self.give_back([each.tag for each in taken])
        else:
            put_back(self, taken)

    def _settled(self, tag: int) -> bool:
        taken = self._outstanding.pop(tag, None)
        if taken is None:
            return False
        if taken.consumer in self._free:
            self._free[taken.consumer] += 1
        return True
