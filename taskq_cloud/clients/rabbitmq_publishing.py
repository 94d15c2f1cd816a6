"""Publishing with confirms: many messages are sent at once, and one wait ends when the server has answered for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskq_cloud.clients import rabbitmq_frames as frames
from taskq_cloud.clients.rabbitmq_frames import Content
from taskq_cloud.clients.rabbitmq_session import LostError, Session, SessionError, Steps, Waiting, answer
from taskq_cloud.clients.rabbitmq_values import ValueTooLargeError

ACCEPTED: Final = ""
"""The answer for a message that queues have taken."""
UNROUTABLE: Final = "unroutable"
"""The beginning of the answer for a message that no queue takes."""
REJECTED: Final = "rejected"
"""The answer for a message that a queue has refused, such as a queue that is full."""
IMPOSSIBLE: Final = "impossible: "
"""The beginning of the answer for a message that AMQP can't carry."""
BLOCKED: Final = "Blocked"
"""The code of the error for a server that takes no messages, as its memory or its disk is full."""


class Batch:
    """Messages that were sent together.

    Args:
        size: how many they are.
    """

    __slots__ = ("answers", "left", "waiting")

    def __init__(self, size: int) -> None:
        self.waiting = Waiting()
        self.answers = [ACCEPTED] * size
        self.left = size

    def count(self) -> None:
        """Count one answer."""
        self.left -= 1
        if self.left == 0:
            self.waiting.set(self.answers)


class Publishing:
    """A channel that messages are published on.

    Args:
        session: the connection.
        confirms: whether the server answers for each message. Otherwise it must not: a process that ends with answers
            unread resets its connection, and the server then drops the messages that it hasn't read yet.
    """

    def __init__(self, session: Session, *, confirms: bool = True) -> None:
        self.channel = session.open_channel()
        self._session = session
        self._confirms = confirms
        self._number = 0
        # number -> the batch, the message's place in it, and its message id
        self._unconfirmed: dict[int, tuple[Batch, int, str]] = {}
        if confirms:
            session.ask(self.channel, "confirm.select", frames.OFF)

    def send(self, messages: Sequence[tuple[str, str, Mapping[str, Any], bytes]]) -> Batch:
        """Send messages: exchange, routing key, properties and body."""
        batch = Batch(len(messages))
        session, channel, out = self._session, self.channel, self._session.out
        for place, (exchange, routing_key, properties, body) in enumerate(messages):
            try:
                content = frames.content(channel, properties, body, session.frame_max)
                head = frames.publishing(channel, exchange, routing_key)
            except (ValueTooLargeError, UnicodeEncodeError) as error:
                batch.answers[place] = f"{IMPOSSIBLE}{error}"
                batch.count()
                continue
            out.append(head)
            out += content
            if not self._confirms:
                continue
            self._number += 1
            self._unconfirmed[self._number] = (batch, place, properties.get("message_id", ""))
        if not messages:
            batch.waiting.set(batch.answers)
        return batch

    def confirmed(self, number: int, *, multiple: bool, accepted: bool) -> None:
        """Take the server's word about a message, or about all up to it."""
        if multiple:
            numbers = []
            for each in self._unconfirmed:
                if each > number:
                    break
                numbers.append(each)
        else:
            numbers = [number]
        for each in numbers:
            found = self._unconfirmed.pop(each, None)
            if found is None:
                continue
            batch, place, _ = found
            if not accepted:
                batch.answers[place] = REJECTED
            batch.count()

    def returned(self, content: Content) -> None:
        """Take a message that no queue takes. Its confirm follows."""
        message_id = content.properties().get("message_id")
        for batch, place, each in self._unconfirmed.values():
            if each == message_id:
                batch.answers[place] = f"{UNROUTABLE}: {content.method.arguments[1]}"

    def fail(self, error: Exception) -> None:
        """End all batches with an error."""
        for batch, _, _ in self._unconfirmed.values():
            batch.waiting.fail(error)
        self._unconfirmed.clear()


def publish(
    session: Session,
    messages: Sequence[tuple[str, str, Mapping[str, Any], bytes]],
    seconds: float,
    *,
    confirm: bool = True,
) -> Steps[list[str]]:
    """Publish messages, and wait until the server has confirmed all, unless ``confirm`` is False.

    Returns:
        The answer for each message: ``ACCEPTED``, or why it was not.

    Raises:
        SessionError: the server is blocked, refuses, or is gone; any of the messages may have been taken.
    """
    if not confirm:
        if session.unconfirmed is None:
            opened = Publishing(session, confirms=False)
            yield from answer(session.opening(opened.channel), seconds)
            session.unconfirmed = opened
        unconfirmed: list[str] = session.unconfirmed.send(messages).answers
        return unconfirmed
    if session.publishing is None:
        session.publishing = Publishing(session)
    batch = session.publishing.send(messages)
    try:
        answers: list[str] = yield from answer(batch.waiting, seconds)
    except LostError as error:
        if session.blocked is None:
            raise
        session.fail(error)
        text = f"the server takes no messages: its alarm says {session.blocked!r}"
        raise SessionError(BLOCKED, text) from error
    return answers
