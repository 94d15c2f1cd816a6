"""Stores results in Redis, under the keys and with the documents of Celery's backend, so that either side reads both.

=============================  =======================================================================================
``celery-task-meta-<id>``      a task's result document, which Celery's backend reads and writes, too
``taskq-meta-<id>``            the document's companion, with fields that the document doesn't have: see ``_Stored``
``taskq-join-<join>``          a bit for each member of a join
``taskq-claim-<key>``          the fenced lock on a claimed key: owner, fence, lapses_at
``taskq-rate-<key>``           the next slot of a rate limit
=============================  =======================================================================================

Every method is one script or one command, which nothing can come between (``_redis_scripts``). Redis removes what has
expired. A written document is published on the channel of its key, as Celery does: so a caller that waits is told, be
it Celery's or one of ours.

Celery writes without conditions, and its last write stands: a companion names the digest of its document, and counts no
more once Celery has written another one.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeAlias
from urllib.parse import SplitResult

from taskq_cloud.core.flows import Call, CallError, Flow
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.model.rates import FARTHEST_SLOT_SECONDS
from taskq_cloud.core.ports import Service
from taskq_cloud.core.records.compressed import unpacked
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS, FINAL_VERSION, Record, may_replace
from taskq_cloud.core.servers.redis import redis_error, redis_service
from taskq_cloud.errors import OperationalError, PayloadTooLarge
from taskq_cloud.stores.results import _celery
from taskq_cloud.stores.results import _redis_scripts as scripts
from taskq_cloud.stores.results._keys import key_prefix

LARGEST_RECORD_BYTES: Final = 64 * 1024 * 1024
"""The largest payload of one record. Redis takes 512 MB, but serves nobody else while it copies a value."""

RESERVATIONS_PER_SECOND: Final = 10_000
"""The most reservations of one key in a second: a fraction of the scripts that one server runs."""

_TOGETHER: Final = 1_000
"""The most records that one script reads or writes: no other client is served meanwhile."""
_BYTES_TOGETHER: Final = 8 * 1024 * 1024
"""The most bytes of the documents that one script writes, unless it writes only one."""

_ATTEMPTS: Final = 10
"""How often a record is saved while Celery writes its document between our read and our write."""

_FINAL: Final = re.compile(rb'\{"status": ?"(SUCCESS|FAILURE|REVOKED)"')
"""The beginning of a final document, by Celery's JSON and by ours. The scripts know it, too."""

_Answer: TypeAlias = int | bytes


@dataclass(frozen=True, slots=True)
class _Stored:
    """A record as it is stored.

    Args:
        document: the document, compressed or not.
        companion: the digest of the document, and the record's version, fence, expiry and state; empty if a reader of
            the document knows them: it is final and was written without a lock.
        expires_ms: when both expire, in milliseconds since the epoch; empty: never.
    """

    document: bytes
    companion: bytes
    expires_ms: str

    @classmethod
    def of(cls, record: Record) -> _Stored:
        document = record.body
        expires_ms = "" if record.expires_at is None else str(math.ceil(record.expires_at * 1000))
        if record.final and record.fence == 0 and _says(record):
            return cls(document, b"", expires_ms)
        values = (_digest(document), record.version, record.fence, repr(record.expires_at), record.state)
        return cls(document, " ".join(map(str, values)).encode(), expires_ms)


class RedisResults:
    """The store behind ``redis://``, ``rediss://``, ``redis+socket://`` and ``sentinel://``.

    Args:
        urls: the URL of the server, or of several of which one is used at a time.
        options: ``result_backend_transport_options``: ``global_keyprefix``, and those of
            ``core.servers.redis.redis_service``.
        clock: returns the time, in seconds since the epoch; None: the server's own, which all machines share.
    """

    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(
        largest_record_bytes=LARGEST_RECORD_BYTES,
        joins=True,
        claims=True,
        reservations_per_second=RESERVATIONS_PER_SECOND,
        shared_between_processes=True,
        durable=True,
        saves_together=True,
        loads_together=True,
    )

    def __init__(
        self,
        urls: Sequence[str | SplitResult],
        options: Mapping[str, Any] | None = None,
        *,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._service, service = redis_service(urls, options or {})
        self._services = {self._service: service}
        self._prefix = key_prefix(options or {})
        self._clock = clock

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> RedisResults:
        """Make the store for one server's URL: see ``core.servers.redis``."""
        return cls([url], options)

    @classmethod
    def from_urls(cls, urls: Sequence[SplitResult], options: Mapping[str, Any]) -> RedisResults:
        """Make the store for several servers, of which one is used at a time: the sentinels, or a replica's primary."""
        return cls(urls, options)

    @property
    def services(self) -> Mapping[str, Service]:
        """The client of the server."""
        return self._services

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read records, in one script: see ``ResultStore.load``.

        Raises:
            DecodeError: Celery wrote a record that can't be decoded; the error names the task.
        """
        wanted = list(dict.fromkeys(ids))
        records: dict[str, Record] = {}
        for begin in range(0, len(wanted), _TOGETHER):
            part = wanted[begin : begin + _TOGETHER]
            answer = yield from self._run(scripts.LOAD, self._keys(part), [])
            for each, document, companion, expires_ms in zip(part, *(answer[n::3] for n in range(3)), strict=True):
                if document is not None:
                    records[each] = _record_of(each, document, companion, expires_ms)
        if self._clock is None:
            return records
        now = self._clock()
        return {
            each: record for each, record in records.items() if record.expires_at is None or record.expires_at > now
        }

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Write records, in one script: see ``ResultStore.save``.

        Raises:
            PayloadTooLarge: a payload exceeds the limit; the error names the task, the size, the limit and the remedy.
        """
        for record in records:
            _check_size(record)
        saved: list[bool] = []
        for part in _parts(records):
            saved += yield from self._save(part)
        return saved

    def save_each(self, records: Sequence[Record]) -> Flow[list[bool | Exception]]:
        """Write records, in one script: see ``SavesTogether.save_each``."""
        refused = [_refusal(record) for record in records]
        fitting = [record for record, refusal in zip(records, refused, strict=True) if refusal is None]
        saved = iter((yield from self.save(fitting)))
        return [next(saved) if refusal is None else refusal for refusal in refused]

    def listen(self, ids: Sequence[str], listener: Listener) -> Flow[bool]:
        """Let a listener hear of the ends of tasks: see ``TellsOfEnds.listen``."""
        topics = {self._document_key(each): each for each in ids}
        heard: bool = yield from self._call("listen", listener=listener, topics=topics)
        return heard

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Remove records."""
        if ids:
            yield from self._command("UNLINK", *self._keys(ids))

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Count a member: see ``ResultStore.join``."""
        expires_ms = "" if expires_at is None else math.ceil(expires_at * 1000)
        key = f"{self._prefix}taskq-join-{join_id}"
        return bool((yield from self._run(scripts.JOIN, [key], [self._now(), member, size, expires_ms])))

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """Take, renew or give up the fenced lock on a key: see ``ResultStore.claim``."""
        arguments = [self._now(), owner, _microseconds(ttl_seconds), _microseconds(FENCE_KEPT_SECONDS)]
        fence: int | None = yield from self._run(scripts.CLAIM, [f"{self._prefix}taskq-claim-{key}"], arguments)
        return fence

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> Flow[float | None]:
        """Take a key's next slot: see ``ResultStore.reserve``."""
        lengths = map(_microseconds, (interval_seconds, credit_seconds, FARTHEST_SLOT_SECONDS))
        slot = yield from self._run(scripts.RESERVE, [f"{self._prefix}taskq-rate-{key}"], [self._now(), *lengths])
        return None if slot is None else slot / 1_000_000

    def _save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        written: list[bool] = [False] * len(records)
        pending = dict.fromkeys(range(len(records)), "")
        for _ in range(_ATTEMPTS):
            answers = yield from self._try([(records[each], digest) for each, digest in pending.items()])
            undecided: dict[int, str] = {}
            for position, answer in zip(pending, answers, strict=True):
                if isinstance(answer, int):
                    written[position] = bool(answer)
                elif self._replaces(records[position], answer):
                    undecided[position] = _digest(answer)
            if not undecided:
                return written
            pending = undecided
        record = records[next(iter(pending))]
        raise OperationalError(
            f"Redis: the result of task {record.id} could not be saved: Celery wrote it at each of {_ATTEMPTS} "
            "attempts; try again"
        )

    def _try(self, writes: Sequence[tuple[Record, str]]) -> Flow[list[_Answer]]:
        """Write records, each with the digest of the stored document that it was decided to replace."""
        arguments: list[Any] = [self._now()]
        for record, digest in writes:
            new = _Stored.of(record)
            arguments += (new.document, new.companion, record.version, record.fence, new.expires_ms, digest)
        answers: list[_Answer] = yield from self._run(
            scripts.SAVE, self._keys([record.id for record, _ in writes]), arguments
        )
        return answers

    def _replaces(self, record: Record, document: bytes) -> bool:
        """Decide about a document that Celery wrote, or whose beginning doesn't say its state, as a compressed one."""
        return may_replace(_celery.record_of(record.id, document), record, 0)

    def _keys(self, ids: Sequence[str]) -> list[str]:
        return [key for each in ids for key in (self._document_key(each), f"{self._prefix}taskq-meta-{each}")]

    def _document_key(self, task_id: str) -> str:
        return f"{self._prefix}celery-task-meta-{task_id}"

    def _now(self) -> int | str:
        return "" if self._clock is None else _microseconds(self._clock())

    def _run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Flow[Any]:
        return self._call("script", script=script, keys=keys, args=arguments)

    def _command(self, *command: str) -> Flow[Any]:
        (answer,) = yield from self._call("commands", commands=[command])
        if isinstance(answer, CallError):
            raise self._error(answer) from answer
        return answer

    def _call(self, operation: str, **parameters: Any) -> Flow[Any]:
        try:
            return (yield Call(self._service, operation, parameters))
        except CallError as error:
            raise self._error(error) from error

    def _error(self, error: CallError) -> OperationalError:
        return redis_error("the result store can't be used", error)


def _record_of(task_id: str, document: bytes, companion: bytes | None, expires_ms: int) -> Record:
    if companion is not None:
        digest, version, fence, expires_at, state = companion.decode().split(" ", 4)
        if digest == _digest(document):
            expiry = None if expires_at == "None" else float(expires_at)
            return Record(task_id, state, int(version), unpacked(document), expiry, int(fence))
    expiry = expires_ms / 1000 if expires_ms > 0 else None
    final = _FINAL.match(document)
    if final is None:
        return _celery.record_of(task_id, document, expiry)
    return Record(task_id, final[1].decode(), FINAL_VERSION, unpacked(document), expiry)


def _says(record: Record) -> bool:
    """Whether a record's payload says its state at its beginning."""
    return record.payload.startswith((f'{{"status":"{record.state}"', f'{{"status": "{record.state}"'))


def _digest(document: bytes) -> str:
    return hashlib.sha1(document, usedforsecurity=False).hexdigest()


def _microseconds(seconds: float) -> int:
    """Whole microseconds, rounded up: an interval must not become shorter."""
    return math.ceil(seconds * 1_000_000)


def _parts(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Divide records into those that are written by one script."""
    part, size = list[Record](), 0
    for record in records:
        more = len(record.body)
        if part and (len(part) == _TOGETHER or size + more > _BYTES_TOGETHER):
            yield part
            part, size = [], 0
        part.append(record)
        size += more
    if part:
        yield part


def _refusal(record: Record) -> PayloadTooLarge | None:
    try:
        _check_size(record)
    except PayloadTooLarge as error:
        return error
    return None


def _check_size(record: Record) -> None:
    size = len(record.body)
    if size > LARGEST_RECORD_BYTES:
        raise PayloadTooLarge(
            f"the result of task {record.id} is {size} bytes; the Redis store takes at most {LARGEST_RECORD_BYTES}: "
            "set TASKQ_PAYLOADS to a bucket for larger results, or store the data elsewhere and return its location"
        )
