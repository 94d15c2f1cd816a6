"""Stores results in memcached, under the keys and with the documents of Celery's cache backend.

=============================  =======================================================================================
``celery-task-meta-<id>``      a task's result document, with our fields in it: see ``_embedded_fields``
``taskq-join-<join>``          the arrivals at a join: see ``_appended_joins``
``taskq-claim-<key>``          the fenced lock on a claimed key
``taskq-rate-<key>``           the next slot of a rate limit
=============================  =======================================================================================

Values change by ``add`` and ``cas``, so that each write names the version that was read (``_documents``). Servers drop
values when their memory is full, and forget all of them when they end: nothing here is durable.

Source: memcached's doc/protocol.txt.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult, unquote

from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Trouble
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.ports import Service
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured, OperationalError, Unreachable
from taskq_cloud.stores.buckets import FailureKind, StoredObject, StoreErrors, Write
from taskq_cloud.stores.results import _appended_joins as joins
from taskq_cloud.stores.results._documents import DocumentResults
from taskq_cloud.stores.results._embedded_fields import embedded, object_in
from taskq_cloud.stores.results._keys import key_of, key_prefix
from taskq_cloud.stores.results._object_joins import Arrival

LARGEST_RECORD_BYTES: Final = 1024 * 1024 - 4096
"""The largest payload of one record: a server's items have 1 MiB unless its option ``-I`` says otherwise, with the key,
our fields and what the server keeps of each item."""

RESERVATIONS_PER_SECOND: Final = 100
"""The most reservations of one key in a second: each one reads a value and then writes it, in a millisecond or two, and
writers that conflict start again."""

PORT: Final = 11211

_MOST_RELATIVE_SECONDS: Final = 30 * 86_400
"""Up to here a server takes an expiry for a number of seconds from now, and above it for a time since the epoch."""
_LATEST_EXPIRY: Final = 2**31 - 1
"""The largest number that a server reads. Values that expire later are kept until memory is needed."""
_LATER_SECONDS: Final = 2
"""A server's clock moves once a second: so much later it doesn't remove a value early. Reads leave out what expired."""

_LONGEST_KEY: Final = 250
_PLAIN: Final = re.compile(r"[!-~]+")

_CHANGED: Final = "Changed"
_OUT_OF_MEMORY: Final = "OutOfMemory"
_KINDS: Final = {_CHANGED: FailureKind.CONDITION_FAILED, "TooLarge": FailureKind.TOO_LARGE_TO_WRITE}
_OPERATIONS: Final = {"gets": "reading", "store": "writing", "append": "writing", "delete": "deleting"}

_FAMILY: Final = ("memcached", "memcache", "pymemcache", "pylibmc")
"""The names of memcached in Celery's ``cache+memcached://`` and its older forms."""


class MemcachedResults(DocumentResults):
    """The store behind ``memcached://host:11211;host:11211`` and Celery's ``cache+memcached://``.

    Args:
        servers: the servers, as ``host:port`` or the path of a Unix socket; each key is on one of them.
        options: ``result_backend_transport_options``: ``global_keyprefix``.
        clock: returns the time, in seconds since the epoch.
    """

    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(
        largest_record_bytes=LARGEST_RECORD_BYTES,
        joins=True,
        claims=True,
        reservations_per_second=RESERVATIONS_PER_SECOND,
        shared_between_processes=True,
        durable=False,
        loads_together=True,
    )

    def __init__(
        self,
        servers: Sequence[str],
        options: Mapping[str, Any] | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._servers = tuple(servers)
        super().__init__(_Values(f"memcached {';'.join(self._servers)}"), key_prefix(options or {}), clock)

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> MemcachedResults:
        """Make the store for ``memcached://host:port``, or several hosts separated by ``;``.

        Raises:
            ImproperlyConfigured: the URL names no server, has credentials or options, or is of another cache.
        """
        family, _, kind = url.scheme.rpartition("+")
        if family == "cache" and kind not in _FAMILY:
            raise ImproperlyConfigured(
                f"{shown(url)}: the cache is memcached: write cache+memcached://host:{PORT}; results of one process "
                "are kept by memory://"
            )
        query_of(url)
        # A path is a Unix socket's; Celery's URLs end in a slash that means nothing.
        given = unquote(f"{url.netloc}{url.path}").rstrip("/")
        servers = [each.strip() for each in re.split("[;,]", given)]
        if "@" in given or not all(servers):
            raise ImproperlyConfigured(
                f"{shown(url)} names no servers: write memcached://host:{PORT}, or several separated by ;. memcached "
                "knows no users: let nobody else reach its port"
            )
        return cls([_address(url, each) for each in servers], options)

    @property
    def services(self) -> Mapping[str, Service]:
        """The client of the servers."""
        return {"memcached": Service("memcached", (("servers", self._servers),))}

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Count a member, in one call: see ``ResultStore.join`` and ``_appended_joins``."""
        line = joins.line_of(Arrival(int(member), self._clock(), expires_at))
        parameters = {"key": self._name("join", join_id), "value": line, "expiry": _expiry(expires_at)}
        (answer,) = yield Gather([Call("memcached", "append", parameters)])
        return joins.is_complete(self.documents.errors.check(answer), line, size)

    def _key(self, task_id: str) -> str:
        return _fitting(f"{self.prefix}celery-task-meta-", task_id)

    def _name(self, kind: str, key: str) -> str:
        return _fitting(f"{self.prefix}taskq-{kind}-", key)


class _ServerErrors(StoreErrors):
    """Translates the failed calls of the servers."""

    def error(self, failure: CallError) -> OperationalError:
        """The error of a failed call, which names the servers and the remedy."""
        if failure.code == _OUT_OF_MEMORY:
            return Unreachable(f"{self.name}: {failure.message}")
        return super().error(failure)


class _Values:
    """The values of the servers: see ``stores.buckets.Collection``."""

    reads_together = 100
    writes_together = 1
    deletes_versions = False
    created_early = False

    def __init__(self, name: str) -> None:
        self.errors: StoreErrors = _ServerErrors(name, "nothing has to be created", _KINDS, _OPERATIONS)

    def creation(self) -> Sequence[Call]:
        return ()

    def get(self, keys: Sequence[str]) -> Call:
        return Call("memcached", "gets", {"keys": list(keys)})

    def found(self, keys: Sequence[str], answer: Any) -> Mapping[str, StoredObject]:
        return {key: object_in(value, cas) for key, (value, cas) in answer.items()}

    def put(self, writes: Sequence[Write]) -> Call:
        (write,) = writes
        cas = None if write.over is None else write.over.tag
        value, expiry = embedded(write.new), _expiry(write.new.expires_at)
        return Call("memcached", "store", {"key": write.key, "value": value, "expiry": expiry, "cas": cas})

    def outcomes(self, call: Call, answer: Any) -> Sequence[Any]:
        if call.operation == "delete" or answer:
            return [None]
        return [CallError(call, _CHANGED, "the value has changed", Trouble.REFUSED)]

    def delete(self, found: Mapping[str, StoredObject | None]) -> Call:
        (key,) = found
        return Call("memcached", "delete", {"key": key})


def _expiry(expires_at: float | None) -> int:
    """The expiry as a server reads it; 0: never."""
    if expires_at is None:
        return 0
    seconds = math.ceil(expires_at) + _LATER_SECONDS
    return seconds if _MOST_RELATIVE_SECONDS < seconds <= _LATEST_EXPIRY else 0


def _fitting(beginning: str, name: str) -> str:
    return key_of(beginning, name, most_bytes=_LONGEST_KEY, fits=_PLAIN.fullmatch(name) is not None)


def _address(url: SplitResult, server: str) -> str:
    if server.startswith(("/", "unix:")):
        return server
    host, colon, port = server.rpartition(":")
    if not colon or server.endswith("]"):
        return f"{server}:{PORT}"
    if not host or not (port.isascii() and port.isdigit()):
        raise ImproperlyConfigured(f"{shown(url)}: the server {server!r} can't be read: write host:{PORT}")
    return server
