"""Pub/Sub's documented behaviour in memory, with the parts that Google's fake server leaves out.

These are dead-letter policies, delivery attempts, ordering keys, exactly-once delivery and limits. If the documentation
leaves a case open, the harder one for a client happens: a stale receipt acknowledges a message that was delivered
again.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

DELETED_TOPIC = "_deleted-topic_"
INVALID_ACK_ID = "PERMANENT_FAILURE_INVALID_ACK_ID"


class Fault(Exception):
    """A status that is not OK."""

    def __init__(self, code: str, message: str, details: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.details = details or {}


@dataclass
class StoredMessage:
    """A message in a subscription. ``ack_id`` is the id of its last delivery, or None if it was given back."""

    number: int
    message_id: str
    data: bytes
    attributes: dict[str, str]
    ordering_key: str
    published_at: float
    visible_at: float = 0.0
    ack_id: str | None = None
    attempts: int = 0


@dataclass
class Subscription:
    """A subscription and its messages."""

    name: str
    topic: str
    ack_deadline_seconds: int = 10
    ordered: bool = False
    exactly_once: bool = False
    dead_letter_topic: str = ""
    max_delivery_attempts: int = 5
    push_endpoint: str = ""
    ttl_seconds: int = 0
    messages: dict[int, StoredMessage] = field(default_factory=dict)


class State:
    """Topics, subscriptions and the time, which a test can move ahead. Not thread-safe."""

    def __init__(self) -> None:
        self.topics: set[str] = set()
        self.subscriptions: dict[str, Subscription] = {}
        self.published = 0
        self._offset_seconds = 0.0
        self._numbers = itertools.count(1)
        self._later: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        return time.time() + self._offset_seconds

    def advance(self, seconds: float) -> None:
        self._offset_seconds += seconds

    def at(self, due_at: float, action: Callable[[], None]) -> None:
        """Call ``action`` when ``due_at`` has come."""
        self._later.append((due_at, action))

    # -- publishing

    def publish(self, topic: str, messages: list[tuple[bytes, dict[str, str], str]]) -> list[str]:
        """Publish messages, each given as its data, its attributes and its ordering key."""
        if topic not in self.topics:
            raise Fault("NOT_FOUND", f"Resource not found (resource={topic.rpartition('/')[2]}).")
        ids = []
        for data, attributes, key in messages:
            number = next(self._numbers)
            ids.append(str(number))
            self.published += 1
            for subscription in self.subscriptions.values():
                if subscription.topic == topic:
                    subscription.messages[number] = StoredMessage(
                        number, str(number), data, attributes, key, self.now()
                    )
        return ids

    # -- receiving

    def subscription(self, name: str) -> Subscription:
        try:
            return self.subscriptions[name]
        except KeyError:
            raise Fault("NOT_FOUND", f"Resource not found (resource={name.rpartition('/')[2]}).") from None

    def pull(self, name: str, limit: int) -> list[StoredMessage]:
        subscription = self.subscription(name)
        if subscription.push_endpoint:
            raise Fault("FAILED_PRECONDITION", "Subscription is a push subscription.")
        self._tick(subscription)
        claimed = list(itertools.islice(self._ready(subscription), limit))
        for stored in claimed:
            stored.attempts += 1
            stored.ack_id = f"{stored.number}-{stored.attempts}-{subscription.name.rpartition('/')[2]}"
            stored.visible_at = self.now() + subscription.ack_deadline_seconds
        return claimed

    def acknowledge(self, name: str, ack_ids: list[str]) -> None:
        subscription = self.subscription(name)
        self._tick(subscription)
        failed = {}
        for ack_id in ack_ids:
            stored = self._find(subscription, ack_id)
            if subscription.exactly_once and (stored is None or stored.ack_id != ack_id):
                failed[ack_id] = INVALID_ACK_ID
            elif stored is not None:
                del subscription.messages[stored.number]
        self._report(failed)

    def modify(self, name: str, ack_ids: list[str], seconds: int) -> None:
        if not 0 <= seconds <= 600:
            raise Fault("INVALID_ARGUMENT", f"The ack deadline {seconds} is not within 0 and 600 seconds.")
        subscription = self.subscription(name)
        self._tick(subscription)
        failed = {}
        for ack_id in ack_ids:
            stored = self._find(subscription, ack_id)
            if stored is None or stored.ack_id != ack_id:
                if subscription.exactly_once:
                    failed[ack_id] = INVALID_ACK_ID
            elif seconds:
                stored.visible_at = self.now() + seconds
            else:
                self._failed(subscription, stored)
        self._report(failed)

    def seek(self, name: str, to: float) -> None:
        subscription = self.subscription(name)
        for number, stored in list(subscription.messages.items()):
            if stored.published_at <= to:
                del subscription.messages[number]

    def _ready(self, subscription: Subscription) -> Iterator[StoredMessage]:
        busy = {stored.ordering_key for stored in subscription.messages.values() if stored.ack_id}
        for stored in list(subscription.messages.values()):
            if not stored.ack_id and not (subscription.ordered and stored.ordering_key and stored.ordering_key in busy):
                yield stored

    def _tick(self, subscription: Subscription) -> None:
        """Run the tasks of Cloud Tasks that are due, and end the deliveries whose deadline is over."""
        due = [action for due_at, action in self._later if due_at <= self.now()]
        self._later = [(due_at, action) for due_at, action in self._later if due_at > self.now()]
        for action in due:
            action()
        for stored in list(subscription.messages.values()):
            if stored.ack_id and stored.visible_at <= self.now() and stored.number in subscription.messages:
                self._failed(subscription, stored)

    def _failed(self, subscription: Subscription, stored: StoredMessage) -> None:
        """Deliver a message again or dead-letter it, after it was given back or its deadline ended."""
        if subscription.dead_letter_topic and stored.attempts >= subscription.max_delivery_attempts:
            del subscription.messages[stored.number]
            attributes = {
                **stored.attributes,
                "CloudPubSubDeadLetterSourceSubscription": subscription.name.rpartition("/")[2],
                "CloudPubSubDeadLetterSourceDeliveryCount": str(stored.attempts),
            }
            self.publish(subscription.dead_letter_topic, [(stored.data, attributes, stored.ordering_key)])
        stored.ack_id = None
        if subscription.ordered and stored.ordering_key:
            # A redelivered message has the later messages of its key redelivered, too.
            for other in subscription.messages.values():
                if other.ordering_key == stored.ordering_key and other.number > stored.number:
                    other.ack_id = None

    @staticmethod
    def _find(subscription: Subscription, ack_id: str) -> StoredMessage | None:
        number, _, rest = ack_id.partition("-")
        if not number.isdigit() or not rest:
            raise Fault("INVALID_ARGUMENT", "Some acknowledgement ids in the request were invalid.")
        return subscription.messages.get(int(number))

    @staticmethod
    def _report(failed: dict[str, str]) -> None:
        if failed:
            raise Fault("FAILED_PRECONDITION", "Some acknowledgement ids in the request were invalid.", failed)
