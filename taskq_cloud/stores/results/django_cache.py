"""Stores results in one of Django's caches: ``django-cache://``, under the keys of django-celery-results.

A value is the dict that Celery's backend of this name stores, with our fields under the key ``taskq``. Django's caches
can't replace a value on a condition, so a write takes a lock first, by ``add``, which lapses if its owner dies. An
owner that has been too slow begins anew instead of writing. What remains is an owner that is stopped between that
check and its write, for the lifetime of the lock: then a late state may replace a final one. Chords, ``once`` tasks and
rate limits must not go wrong like this, so the store has no joins, locks and slots.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult
from uuid import uuid4

from taskq_cloud.core import serializers
from taskq_cloud.core.flows import Call, CallError, Flow, Sleep
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.ports import Service
from taskq_cloud.core.records.record import Record, may_replace, version_of
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import (
    DecodeError,
    EncodeError,
    ImproperlyConfigured,
    OperationalError,
    PayloadTooLarge,
    Unreachable,
)

LARGEST_RECORD_BYTES: Final = 400_000
"""The largest payload of one record. A value holds it twice, as Celery's dict and as it is, and memcached's values have
1 MB at most."""

LOCK_SECONDS: Final = 10
"""How long a lock lasts whose owner has died."""

_WRITE_WITHIN_SECONDS: Final = LOCK_SECONDS / 2
_LOCK_PAUSES: Final = (0.002, 0.005, 0.01, 0.02, 0.05)
"""The pauses between attempts to get a lock; the last one is repeated."""
_LOCK_WAIT_SECONDS: Final = LOCK_SECONDS + 2

_PREFIX: Final = "celery-task-meta-"
_SIMPLE_KEY: Final = re.compile(r"[!-~]{1,200}")
"""The ids that all of Django's caches take as a part of a key (Django's documentation, "Cache key warnings")."""
_OURS: Final = "taskq"


class DjangoCacheResults:
    """The store behind ``django-cache://`` and ``django-cache://alias``.

    Args:
        alias: the cache's name in CACHES.
        clock: returns the time, in seconds since the epoch.
    """

    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(
        largest_record_bytes=LARGEST_RECORD_BYTES,
        joins=False,
        claims=False,
        shared_between_processes=True,
        durable=False,
        loads_together=True,
    )

    def __init__(self, alias: str = "default", clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._service_name = f"django-cache:{alias}"
        self._service = Service("django_cache", (("alias", alias),))

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> DjangoCacheResults:
        """Make the store for ``django-cache://`` or ``django-cache://alias``; else Celery's ``cache_backend``."""
        query_of(url)
        if url.path.strip("/"):
            raise ImproperlyConfigured(f"{shown(url)}: write django-cache:// or django-cache://ALIAS, a name of CACHES")
        return cls(url.netloc or options.get("cache_backend") or "default")

    @property
    def services(self) -> Mapping[str, Service]:
        """The client of the cache."""
        return {self._service_name: self._service}

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read records by one call: see ``ResultStore.load``."""
        if not ids:
            return {}
        keys = {_key(each): each for each in ids}
        found: Mapping[str, Any] = yield from self._call("get_many", keys=list(keys))
        now = self._clock()
        records = [_record(keys[key], value) for key, value in found.items()]
        return {each.id: each for each in records if each.expires_at is None or each.expires_at > now}

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Write records one after the other: see ``ResultStore.save``."""
        for record in records:
            size = len(record.payload.encode())
            if size > LARGEST_RECORD_BYTES:
                raise PayloadTooLarge(
                    f"the result of task {record.id} is {size} bytes; the store in Django's cache takes at most "
                    f"{LARGEST_RECORD_BYTES}: set TASKQ_PAYLOADS to a bucket for larger results, or store the data "
                    "elsewhere and return its location"
                )
        saved: list[bool] = []
        for record in records:
            written = yield from self._save(record)
            saved.append(written)
        return saved

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Remove records."""
        if ids:
            yield from self._call("delete_many", keys=[_key(each) for each in ids])

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Refuse: the store has no joins."""
        raise _unsupported("chords")

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """Refuse: the store has no locks."""
        raise _unsupported("locks")

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> Flow[float | None]:
        """Refuse: the store has no slots."""
        raise _unsupported("rate limits")

    def _save(self, record: Record) -> Flow[bool]:
        key = _key(record.id)
        lock, token = f"taskq-lock-{key}", uuid4().hex
        ends_at = time.monotonic() + _LOCK_WAIT_SECONDS
        for attempt in range(1_000_000):
            began_at = time.monotonic()
            if (yield from self._call("add", key=lock, value=token, timeout=LOCK_SECONDS)):
                try:
                    written = yield from self._replace(record, key, began_at)
                finally:
                    yield from self._unlock(lock, token)
                if written is not None:
                    return written
            if time.monotonic() >= ends_at:
                break
            yield Sleep(_LOCK_PAUSES[min(attempt, len(_LOCK_PAUSES) - 1)])
        raise Unreachable(f"the result store can't be used: others have held the lock {lock} for too long")

    def _replace(self, record: Record, key: str, locked_at: float) -> Flow[bool | None]:
        """Write a record under its lock, if it may replace the stored one; None: the lock may have lapsed."""
        found: Mapping[str, Any] = yield from self._call("get_many", keys=[key])
        now = self._clock()
        stored = _record(record.id, found[key]) if key in found else None
        if not may_replace(stored, record, now):
            return False
        if time.monotonic() - locked_at > _WRITE_WITHIN_SECONDS:
            return None
        timeout = None if record.expires_at is None else max(1, math.ceil(record.expires_at - now))
        yield from self._call("set", key=key, value=_value(record), timeout=timeout)
        return True

    def _unlock(self, lock: str, token: str) -> Flow[None]:
        found: Mapping[str, Any] = yield from self._call("get_many", keys=[lock])
        if found.get(lock) == token:
            yield from self._call("delete_many", keys=[lock])

    def _call(self, operation: str, **parameters: Any) -> Flow[Any]:
        try:
            return (yield Call(self._service_name, operation, parameters))
        except CallError as error:
            raise Unreachable(f"the result store can't be used: {error.message}") from error


def _unsupported(what: str) -> OperationalError:
    return OperationalError(
        f"the result store in Django's cache has no {what}: a cache can't write on a condition; use django-db://"
    )


def _key(task_id: str) -> str:
    """The key of a task's result: Celery's, but for ids that some caches don't take."""
    if _SIMPLE_KEY.fullmatch(task_id):
        return f"{_PREFIX}{task_id}"
    return f"{_PREFIX}{hashlib.sha256(task_id.encode()).hexdigest()}"


def _value(record: Record) -> dict[str, Any]:
    """Celery's dict of a record, and our fields."""
    ours = [record.id, record.state, record.version, record.payload, record.expires_at, record.fence]
    document = serializers.loads(record.payload)
    return {**(document if isinstance(document, dict) else {"status": record.state}), _OURS: ours}


def _record(task_id: str, value: Any) -> Record:
    """Read a record from a value.

    Raises:
        DecodeError: Celery has stored a result that isn't JSON's.
    """
    if isinstance(value, dict) and isinstance(ours := value.get(_OURS), list):
        return Record(*ours)
    try:
        state, retries = value["status"], value.get("retries") or 0
        result = value.get("result")
        if isinstance(result, BaseException):
            kind = type(result)
            result = {"exc_type": kind.__name__, "exc_message": list(result.args), "exc_module": kind.__module__}
        payload = serializers.dumps({**value, "result": result, "task_id": task_id})
    except (AttributeError, KeyError, TypeError, EncodeError) as error:
        raise DecodeError(
            f"Celery's result of task {task_id} can't be read from the cache: {error}", task_id
        ) from error
    return Record(task_id, state, version_of(state, retries), payload)
