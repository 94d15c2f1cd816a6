"""What Pub/Sub does with messages, as its documentation says it, in memory: what Google's fake server leaves out.

Dead-letter policies and delivery attempts, ordering keys, exactly-once delivery, limits. Where the documentation leaves
open what happens, the less comfortable thing does: a stale receipt acknowledges a message that someone else has.
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
class Held:
    """A message in a subscription. ``ack_id`` is that of its last delivery, until it is given back."""

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
    """A subscription, and what it holds."""

    name: str
    topic: str
    ack_deadline_seconds: int = 10
    ordered: bool = False
    exactly_once: bool = False
    dead_letter_topic: str = ""
    max_delivery_attempts: int = 5
    push_endpoint: str = ""
    ttl_seconds: int = 0
    messages: dict[int, Held] = field(default_factory=dict)


class State:
    """Topics, subscriptions and the time, which a test can move on. Not thread-safe."""

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
        """Do something when it is time."""
        self._later.append((due_at, action))

    # -- publishing

    def publish(self, topic: str, messages: list[tuple[bytes, dict[str, str], str]]) -> list[str]:
        """Publish (data, attributes, ordering key)."""
        if topic not in self.topics:
            raise Fault("NOT_FOUND", f"Resource not found (resource={topic.rpartition('/')[2]}).")
        ids = []
        for data, attributes, key in messages:
            number = next(self._numbers)
            ids.append(str(number))
            self.published += 1
            for subscription in self.subscriptions.values():
                if subscription.topic == topic:
                    subscription.messages[number] = Held(number, str(number), data, attributes, key, self.now())
        return ids

    # -- receiving

    def subscription(self, name: str) -> Subscription:
        try:
            return self.subscriptions[name]
        except KeyError:
            raise Fault("NOT_FOUND", f"Resource not found (resource={name.rpartition('/')[2]}).") from None

    def pull(self, name: str, limit: int) -> list[Held]:
        subscription = self.subscription(name)
        if subscription.push_endpoint:
            raise Fault("FAILED_PRECONDITION", "Subscription is a push subscription.")
        self._tick(subscription)
        claimed = list(itertools.islice(self._ready(subscription), limit))
        for held in claimed:
            held.attempts += 1
            held.ack_id = f"{held.number}-{held.attempts}-{subscription.name.rpartition('/')[2]}"
            held.visible_at = self.now() + subscription.ack_deadline_seconds
        return claimed

    def acknowledge(self, name: str, ack_ids: list[str]) -> None:
        subscription = self.subscription(name)
        self._tick(subscription)
        failed = {}
        for ack_id in ack_ids:
            held = self._find(subscription, ack_id)
            if subscription.exactly_once and (held is None or held.ack_id != ack_id):
                failed[ack_id] = INVALID_ACK_ID
            elif held is not None:
                del subscription.messages[held.number]
        self._report(failed)

    def modify(self, name: str, ack_ids: list[str], seconds: int) -> None:
        if not 0 <= seconds <= 600:
            raise Fault("INVALID_ARGUMENT", f"The ack deadline {seconds} is not within 0 and 600 seconds.")
        subscription = self.subscription(name)
        self._tick(subscription)
        failed = {}
        for ack_id in ack_ids:
            held = self._find(subscription, ack_id)
            if held is None or held.ack_id != ack_id:
                if subscription.exactly_once:
                    failed[ack_id] = INVALID_ACK_ID
            elif seconds:
                held.visible_at = self.now() + seconds
            else:
                self._failed(subscription, held)
        self._report(failed)

    def seek(self, name: str, to: float) -> None:
        subscription = self.subscription(name)
        for number, held in list(subscription.messages.items()):
            if held.published_at <= to:
                del subscription.messages[number]

    def _ready(self, subscription: Subscription) -> Iterator[Held]:
        busy = {held.ordering_key for held in subscription.messages.values() if held.ack_id}
        for held in list(subscription.messages.values()):
            if not held.ack_id and not (subscription.ordered and held.ordering_key and held.ordering_key in busy):
                yield held

    def _tick(self, subscription: Subscription) -> None:
        """Let happen what is due: tasks of Cloud Tasks, deadlines that are over."""
        due = [action for due_at, action in self._later if due_at <= self.now()]
        self._later = [(due_at, action) for due_at, action in self._later if due_at > self.now()]
        for action in due:
            action()
        for held in list(subscription.messages.values()):
            if held.ack_id and held.visible_at <= self.now() and held.number in subscription.messages:
                self._failed(subscription, held)

    def _failed(self, subscription: Subscription, held: Held) -> None:
        """A delivery was given back, or its deadline is over: deliver again, or dead-letter."""
        if subscription.dead_letter_topic and held.attempts >= subscription.max_delivery_attempts:
            del subscription.messages[held.number]
            attributes = {
                **held.attributes,
                "CloudPubSubDeadLetterSourceSubscription": subscription.name.rpartition("/")[2],
                "CloudPubSubDeadLetterSourceDeliveryCount": str(held.attempts),
            }
            self.publish(subscription.dead_letter_topic, [(held.data, attributes, held.ordering_key)])
        held.ack_id = None
        if subscription.ordered and held.ordering_key:
            # A redelivery redelivers what came after it under the same key.
            for other in subscription.messages.values():
                if other.ordering_key == held.ordering_key and other.number > held.number:
                    other.ack_id = None

    @staticmethod
    def _find(subscription: Subscription, ack_id: str) -> Held | None:
        number, _, rest = ack_id.partition("-")
        if not number.isdigit() or not rest:
            raise Fault("INVALID_ARGUMENT", "Some acknowledgement ids in the request were invalid.")
        return subscription.messages.get(int(number))

    @staticmethod
    def _report(failed: dict[str, str]) -> None:
        if failed:
            raise Fault("FAILED_PRECONDITION", "Some acknowledgement ids in the request were invalid.", failed)
