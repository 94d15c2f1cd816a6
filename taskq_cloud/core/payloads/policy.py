"""Large payloads: what is checked in at an object store, under which key, and which claims are followed.

A claim is followed only into the application's own bucket and prefix, and where ``sources`` says: whoever can write
to the queue could otherwise have any object that the worker can read handed to a task. How claims are written is
``claims``' part, what a message looks like with one is the codec's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.payload_references import Payload, PayloadReference, check_payload, sha256_of
from taskq_cloud.core.ports import PayloadStore
from taskq_cloud.core.serializers.compression import check_compression, compress
from taskq_cloud.errors import ClaimError, ImproperlyConfigured

TASKQ: Final = "taskq"
SQS_EXTENDED: Final = "sqs-extended"
FORMATS: Final = (TASKQ, SQS_EXTENDED)

ARGUMENTS: Final = "arguments"
RESULTS: Final = "results"

LARGEST_PAYLOAD_BYTES: Final = 64 * 1024 * 1024
"""What a compressed body may grow to when it is read (``serializers.compression``), and what the object stores' SDKs
send in one request; what is larger belongs in an object of the application's own."""

LONGEST_NAME_CHARACTERS: Final = 200
"""Of a task's id in a key: S3's keys have at most 1,024 bytes, and the digest tells two objects apart."""

DAY_SECONDS: Final = 86_400


def is_plain(key: str) -> bool:
    """Whether a key names what it seems to: a client that shortens paths would leave the prefix for ``a/../b``."""
    return not {".", ".."} & set(key.split("/")) and key.isprintable()


@dataclass(frozen=True, slots=True, kw_only=True)
class Payloads:
    """An application's way with large payloads.

    Args:
        store: where they are.
        compression: tried first; None: not at all.
        format: of messages: ``"taskq"``, or ``"sqs-extended"`` for the readers of Amazon's libraries.
        sources: other places that claims may name: ``"bucket"`` or ``"bucket/prefix"``, of the store's own service.
        threshold_bytes: a message over this is claimed even where the broker would take it; None: where it would not.
        expires_days: how long an object is kept.

    Raises:
        ImproperlyConfigured: the format or the compression is unknown, or the format is not the store's.
    """

    store: PayloadStore
    compression: str | None = "gzip"
    format: str = TASKQ
    sources: Collection[str] = ()
    threshold_bytes: int | None = None
    expires_days: int = 30

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ImproperlyConfigured(f"payload_format={self.format!r} is none of {', '.join(FORMATS)}")
        if self.format == SQS_EXTENDED and not self.store.place.startswith("s3://"):
            raise ImproperlyConfigured(
                f"payload_format='sqs-extended' names objects of S3, and the payloads are in {self.store.place}"
            )
        if self.compression is not None:
            check_compression(self.compression)

    def check_in(self, kind: str, name: str, data: bytes, now: float) -> tuple[PayloadReference, Payload]:
        """The claim of some bytes, and what is to be stored for it; nothing is called.

        Args:
            kind: ``ARGUMENTS`` or ``RESULTS``: what the bucket's lifecycle tells apart.
            name: the task's id.
            data: the bytes.
            now: the time, in seconds since the epoch.
        """
        digest = sha256_of(data)
        # With the day, so that what is sent again later lives on from then; an object's age can't be made younger.
        day = datetime.fromtimestamp(now, UTC).date().isoformat()
        key = f"{self.store.prefix}{kind}/{day}/{quote(name, safe='')[:LONGEST_NAME_CHARACTERS]}-{digest}"
        claim = PayloadReference(
            place=self.store.place, key=key, size_bytes=len(data), sha256=digest, stored_at=int(now)
        )
        return claim, Payload(key, data)

    def still_good(self, held: PayloadReference | None, claim: PayloadReference) -> bool:
        """Whether the claim that a message came with can be sent on instead of a new one of the same bytes.

        Not in the second half of its object's time, so that whoever receives the message finds it: with 30 days that
        is a day more than the 14 that SQS keeps a message.
        """
        return (
            held is not None
            and held.place == claim.place
            and held.sha256 == claim.sha256
            and claim.stored_at - held.stored_at < self.expires_days * DAY_SECONDS / 2
        )

    @property
    def longest_wait_seconds(self) -> float:
        """How long a message with a claim may lie where nobody renews it.

        A claim that is sent on has up to half of its object's time behind it; a sixth is left for the queue.
        """
        return self.expires_days * DAY_SECONDS / 3

    def compressed(self, data: bytes) -> tuple[bytes, str | None]:
        """Bytes made smaller, and the content type of how; the bytes themselves and None where that doesn't help."""
        if self.compression is not None:
            packed, content_type = compress(data, self.compression)
            if len(packed) < len(data):
                return packed, content_type
        return data, None

    def put(self, payloads: Sequence[Payload]) -> Flow[list[Refused | None]]:
        """Check payloads in, all at once; one answer a payload, in order."""
        return (yield from self.store.put(payloads)) if payloads else []

    def fetch(self, claim: PayloadReference) -> Flow[bytes]:
        """What a claim stands for.

        Raises:
            ClaimError: it names a place that isn't followed, or the object is gone, too large or another.
            OperationalError: the store could not be used.
        """
        (answer,) = yield from self.fetch_all([claim])
        if isinstance(answer, ClaimError):
            raise answer
        return answer

    def fetch_all(self, claims: Sequence[PayloadReference]) -> Flow[list[bytes | ClaimError]]:
        """What some claims stand for, fetched together; one answer a claim, in order.

        Raises:
            OperationalError: the store could not be used.
        """
        answers: dict[int, bytes | ClaimError] = {}
        for position, claim in enumerate(claims):
            try:
                self._check(claim)
            except ClaimError as error:
                answers[position] = error
        followed = [position for position in range(len(claims)) if position not in answers]
        wanted = [(claims[position].bucket, claims[position].key) for position in followed]
        found = (yield from self.store.get(wanted)) if wanted else []
        for position, data in zip(followed, found, strict=True):
            try:
                answers[position] = check_payload(claims[position], data)
            except ClaimError as error:
                answers[position] = error
        return [answers[position] for position in range(len(claims))]

    def _check(self, claim: PayloadReference) -> None:
        scheme = self.store.place.partition("://")[0]
        own = f"{self.store.place}/{self.store.prefix}"
        allowed = [own, *(f"{scheme}://{source.strip('/')}/" for source in self.sources)]
        if not any(str(claim).startswith(place) for place in allowed):
            raise ClaimError(
                f"the claim names {claim}, and only {', '.join(allowed)} is followed here: payload_sources adds others"
            )
        if not is_plain(claim.key):
            raise ClaimError(f"the claim names {claim!s:.200}, which is no plain key")
        if claim.size_bytes is not None and claim.size_bytes > LARGEST_PAYLOAD_BYTES:
            raise ClaimError(f"{claim} has {claim.size_bytes} bytes, and at most {LARGEST_PAYLOAD_BYTES} are read")
