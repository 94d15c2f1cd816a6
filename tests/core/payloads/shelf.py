"""A store of payloads in a dict, for tests of the core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from taskq_cloud.core.flows import Compute, Flow, Step, run
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.payload_references import Payload, WantedPayload
from taskq_cloud.core.payloads.policy import Payloads
from taskq_cloud.core.ports import Service
from taskq_cloud.errors import ClaimError

T = TypeVar("T")


class Shelf:
    """A store that keeps payloads by bucket and key; if ``failure`` is set, it answers with that error."""

    def __init__(self, place: str = "s3://shelf", prefix: str = "app/") -> None:
        self.place = place
        self.prefix = prefix
        self.services: Mapping[str, Service] = {}
        self.kept: dict[tuple[str, str], bytes] = {}
        self.puts: list[str] = []
        self.gets: list[tuple[str, str]] = []
        self.failure: Exception | None = None

    def put(self, payloads: Sequence[Payload]) -> Flow[list[Refused | None]]:
        yield from ()
        self.puts += [each.key for each in payloads]
        if self.failure:
            return [Refused(self.failure)] * len(payloads)
        for each in payloads:
            self.kept.setdefault((self.place.partition("://")[2], each.key), each.data)
        return [None] * len(payloads)

    def get(self, wanted: Sequence[WantedPayload]) -> Flow[list[bytes | Refused | None]]:
        yield from ()
        self.gets += [(each.bucket, each.key) for each in wanted]
        if self.failure:
            raise self.failure
        found = [self.kept.get((each.bucket, each.key)) for each in wanted]
        return [
            Refused(ClaimError(f"the object has {len(data):,} bytes")) if data and len(data) > each.most_bytes else data
            for each, data in zip(wanted, found, strict=True)
        ]

    def delete(self, keys: Sequence[str]) -> Flow[None]:
        yield from ()
        for key in keys:
            self.kept.pop((self.place.partition("://")[2], key), None)


def drive(flow: Flow[T]) -> T:
    """Run a flow that makes no calls."""

    def nothing(step: Step) -> Any:
        if isinstance(step, Compute):
            return step.function()
        raise AssertionError(f"the flow yielded {step!r}")

    return run(flow, nothing)


def codec_with(shelf: Shelf, **options: Any) -> Codec:
    """A codec with a shelf for its payloads; takes the options of ``Payloads``, and ``security``."""
    security = options.pop("security", None)
    return Codec(payloads=Payloads(store=shelf, **options), security=security)
