"""A broker and a store that report what they have done, with the limits and outages of a scenario."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

from taskq_cloud.core.messages import events
from taskq_cloud.core.model.capabilities import BrokerCapabilities, StoreCapabilities
from taskq_cloud.core.model.message import Outgoing, Refused, Sent, Settlement
from taskq_cloud.core.ports import Broker, ResultStore
from taskq_cloud.core.records.record import Record
from taskq_cloud.errors import PayloadTooLarge, Unreachable


@dataclass(frozen=True, slots=True)
class Effect:
    """A step of the contract's workers: a port has done something, and the pipeline doesn't know that yet."""

    name: str
    ids: Sequence[str] = ()


T = TypeVar("T")

WatchedFlow: TypeAlias = Generator[Any, Any, T]
"""A flow that yields effects among its steps."""

ABOUT_TO = Effect("")
"""The step before an effect, at which a worker can stop even if the adapter yields no step."""


class WatchedBroker:
    """A broker that yields an ``Effect`` for everything it does, with the scenario's limit."""

    def __init__(self, broker: Broker, largest_message_bytes: int | None) -> None:
        self._broker = broker
        self.capabilities: BrokerCapabilities = broker.capabilities
        if largest_message_bytes is not None:
            self.capabilities = replace(broker.capabilities, largest_message_bytes=largest_message_bytes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def send(self, queue: str, messages: Sequence[Outgoing]) -> WatchedFlow[list[Sent | Refused]]:
        yield ABOUT_TO
        answers = yield from self._broker.send(queue, messages)
        sent = [events.read(each.body, "?", ("json", "pickle"), {}) for each in messages]
        yield Effect(f"send:{','.join(each.task for each in sent)}")
        return answers

    def settle(self, settlements: Sequence[Settlement]) -> WatchedFlow[list[Refused | None]]:
        yield ABOUT_TO
        answers = yield from self._broker.settle(settlements)
        yield Effect(f"settle:{','.join(type(each).__name__ for each in settlements)}")
        return answers


class WatchedStore:
    """A result store that yields an ``Effect`` for everything it does, with the scenario's limit and outages."""

    def __init__(self, store: ResultStore, largest_record_bytes: int | None, silent_saves: int) -> None:
        self._store = store
        # A worker of a simulation is alone, so that each of its effects is a step.
        self.capabilities: StoreCapabilities = replace(store.capabilities, saves_together=False)
        if largest_record_bytes is not None:
            self.capabilities = replace(self.capabilities, largest_record_bytes=largest_record_bytes)
        self._largest = largest_record_bytes
        self._silent_saves = silent_saves

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def save(self, records: Sequence[Record]) -> WatchedFlow[list[bool]]:
        if self._silent_saves:
            self._silent_saves -= 1
            raise Unreachable("the store gives no answer")
        if self._largest is not None and any(len(each.payload) > self._largest for each in records):
            raise PayloadTooLarge(f"a result is over {self._largest} bytes")
        yield ABOUT_TO
        saved = yield from self._store.save(records)
        for each in records:
            yield Effect(f"save:{each.state}", [each.id])
        return saved

    def delete(self, ids: Sequence[str]) -> WatchedFlow[None]:
        yield ABOUT_TO
        yield from self._store.delete(ids)
        yield Effect("delete", ids)

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> WatchedFlow[bool]:
        yield ABOUT_TO
        complete = yield from self._store.join(join_id, member, size, expires_at)
        yield Effect("join:complete" if complete else "join")
        return complete

    def claim(self, key: str, owner: str, ttl_seconds: float) -> WatchedFlow[int | None]:
        yield ABOUT_TO
        fence = yield from self._store.claim(key, owner, ttl_seconds)
        yield Effect("claim" if ttl_seconds else "give up claim")
        return fence

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> WatchedFlow[float | None]:
        yield ABOUT_TO
        slot = yield from self._store.reserve(key, interval_seconds, credit_seconds)
        yield Effect("reserve")
        return slot
