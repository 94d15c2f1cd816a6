"""Large payloads: the keys under which they are stored, and the places from which they may be fetched.

A reference is followed only into the application's own bucket and prefix, and to the places in ``sources``. Otherwise
anyone who can write to the queue could hand a task any object that the worker can read. The form of references is in
``core.model.payload_references``, the form of messages that carry them in ``core.messages.codec``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.payload_references import Payload, PayloadReference, WantedPayload, check_payload, sha256_of
from taskq_cloud.core.ports import PayloadStore
from taskq_cloud.core.serializers.compression import check_compression, compress, remedy
from taskq_cloud.errors import ClaimError, ImproperlyConfigured

TASKQ: Final = "taskq"
SQS_EXTENDED: Final = "sqs-extended"
FORMATS: Final = (TASKQ, SQS_EXTENDED)

ARGUMENTS: Final = "arguments"
RESULTS: Final = "results"

LARGEST_PAYLOAD_BYTES: Final = 64 * 1024 * 1024
"""The largest payload: a compressed body may expand to that much (``serializers.compression``), and the SDKs of object
stores send that much in one request. Larger values belong in an object of the application's own."""

LONGEST_NAME_CHARACTERS: Final = 200
"""The length to which a task's id is cut in a key: S3's keys have at most 1,024 bytes, and the digest is unique."""

DAY_SECONDS: Final = 86_400


def is_plain(key: str) -> bool:
    """Whether a key has no ``.`` or ``..`` part, by which a client that shortens paths would leave the prefix."""
    return not {".", ".."} & set(key.split("/")) and key.isprintable()


@dataclass(frozen=True, slots=True, kw_only=True)
class Payloads:
    """An application's settings for large payloads, and the storing and fetching of payloads.

    Args:
        store: the object store.
        compression: the compression of payloads, which may make them fit without the store; None: no compression.
        format: the format of messages: ``"taskq"``, or ``"sqs-extended"`` for readers that use Amazon's libraries.
        sources: other places that references may name: ``"bucket"`` or ``"bucket/prefix"``, in the store's service.
        pointers: whether pointers of the SQS Extended Client libraries are followed: a signature does not cover them.
        threshold_bytes: the size over which a message's arguments are stored although the broker would take it; None:
            they are stored only if the broker would not take the message.
        expires_days: how long an object is kept.

    Raises:
        ImproperlyConfigured: the format or the compression is unknown, or the format doesn't fit the store.
    """

    store: PayloadStore
    compression: str | None = "gzip"
    format: str = TASKQ
    sources: Collection[str] = ()
    pointers: bool = True
    threshold_bytes: int | None = None
    expires_days: int = 30

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ImproperlyConfigured(f"payload_format={self.format!r} isn't one of {', '.join(FORMATS)}")
        if self.format == SQS_EXTENDED and not self.store.place.startswith("s3://"):
            raise ImproperlyConfigured(
                f"payload_format='sqs-extended' needs payloads in S3, and they are in {self.store.place}"
            )
        if self.compression is not None:
            check_compression(self.compression)

    def check_in(self, kind: str, name: str, data: bytes, now: float) -> tuple[PayloadReference, Payload]:
        """Make the reference to some bytes, and the payload to store for it, without any call.

        Args:
            kind: ``ARGUMENTS`` or ``RESULTS``; the bucket's lifecycle rules differ for the two.
            name: the task's id.
            data: the bytes.
            now: the time, in seconds since the epoch.
        """
        digest = sha256_of(data)
        # The day makes arguments that are sent again later a new object, as an object's age can't be reset.
        day = datetime.fromtimestamp(now, UTC).date().isoformat()
        key = f"{self.store.prefix}{kind}/{day}/{quote(name, safe='')[:LONGEST_NAME_CHARACTERS]}-{digest}"
        reference = PayloadReference(
            place=self.store.place, key=key, size_bytes=len(data), sha256=digest, stored_at=int(now)
        )
        return reference, Payload(key, data)

    def can_reuse(self, received: PayloadReference, new: PayloadReference) -> bool:
        """Whether the reference that a message came with can be sent on in place of a new one to equal bytes.

        It can't in the second half of its object's lifetime, so that the receiver of the message finds the object: with
        30 days, a half is a day more than the 14 days for which SQS keeps a message.
        """
        return (
            received.place == new.place
            and received.sha256 == new.sha256
            and new.stored_at - received.stored_at < self.expires_days * DAY_SECONDS / 2
        )

    @property
    def longest_wait_seconds(self) -> float:
        """How long a message with a reference may wait in a place where nobody renews the reference.

        A reference that is sent on may point to an object that has lived for half of its lifetime; of the other half, a
        third is left for the wait in the queue.
        """
        return self.expires_days * DAY_SECONDS / 3

    def compressed(self, data: bytes) -> tuple[bytes, str | None]:
        """Compress bytes: returns them with the compression's content type, or with None if they wouldn't shrink."""
        if self.compression is not None:
            packed, content_type = compress(data, self.compression)
            if len(packed) < len(data):
                return packed, content_type
        return data, None

    def put(self, payloads: Sequence[Payload]) -> Flow[list[Refused | None]]:
        """Store payloads, all at once, and return one answer for each payload, in order."""
        return (yield from self.store.put(payloads)) if payloads else []

    def fetch_pointer(self, pointer: PayloadReference, most_bytes: int) -> Flow[bytes]:
        """Fetch the message of an SQS Extended Client pointer; see ``fetch``."""
        if not self.pointers:
            raise ClaimError(
                f"the SQS Extended Client pointer to {pointer} is not followed, since this application's messages are "
                "signed and pointers are not: set payload_pointers=True to follow them"
            )
        return (yield from self.fetch(pointer, most_bytes))

    def fetch(self, reference: PayloadReference, most_bytes: int = LARGEST_PAYLOAD_BYTES) -> Flow[bytes]:
        """Fetch the payload of a reference.

        Args:
            reference: the reference.
            most_bytes: the size of the largest payload that is read.

        Raises:
            ClaimError: the reference names a place that isn't allowed, or the object is missing, too large or altered.
            OperationalError: the store could not be used.
        """
        (answer,) = yield from self.fetch_all([reference], most_bytes)
        if isinstance(answer, ClaimError):
            raise answer
        return answer

    def fetch_all(
        self, references: Sequence[PayloadReference], most_bytes: int = LARGEST_PAYLOAD_BYTES
    ) -> Flow[list[bytes | ClaimError]]:
        """Fetch the payloads of several references together, and return one answer for each reference, in order.

        Args:
            references: the references.
            most_bytes: the size of the largest payload that is read.

        Raises:
            OperationalError: the store could not be used.
        """
        answers: dict[int, bytes | ClaimError] = {}
        for position, reference in enumerate(references):
            try:
                self._check(reference, most_bytes)
            except ClaimError as error:
                answers[position] = error
        followed = [position for position in range(len(references)) if position not in answers]
        # A reference can name any object, so no more is read of one than the reference says.
        wanted = [
            WantedPayload(each.bucket, each.key, most_bytes if each.size_bytes is None else each.size_bytes)
            for each in (references[position] for position in followed)
        ]
        found = (yield from self.store.get(wanted)) if wanted else []
        for position, data in zip(followed, found, strict=True):
            try:
                if isinstance(data, Refused):
                    raise _too_large(references[position], data.error, most_bytes)
                answers[position] = check_payload(references[position], data)
            except ClaimError as error:
                answers[position] = error
        return [answers[position] for position in range(len(references))]

    def _check(self, reference: PayloadReference, most_bytes: int) -> None:
        scheme = self.store.place.partition("://")[0]
        own = f"{self.store.place}/{self.store.prefix}"
        allowed = [own, *(f"{scheme}://{source.strip('/')}/" for source in self.sources)]
        if not any(str(reference).startswith(place) for place in allowed):
            raise ClaimError(
                f"the payload {reference} is not fetched: payloads may come from {', '.join(allowed)} only; add other "
                "places to payload_sources"
            )
        if not is_plain(reference.key):
            raise ClaimError(
                f"the payload {reference!s:.200} is not fetched: its key has a '.' or '..' part, or can't be printed"
            )
        if reference.size_bytes is not None and reference.size_bytes > most_bytes:
            raise ClaimError(
                f"the payload {reference} is not fetched: it has {reference.size_bytes} bytes, and at most "
                f"{most_bytes} are read ({remedy()})"
            )


def _too_large(reference: PayloadReference, error: Exception, most_bytes: int) -> ClaimError:
    if reference.size_bytes is not None:
        return ClaimError(f"the payload {reference}: {error} instead of {reference.size_bytes}: it has been altered")
    return ClaimError(f"the payload {reference} is not read: {error}, and at most {most_bytes} are read ({remedy()})")
