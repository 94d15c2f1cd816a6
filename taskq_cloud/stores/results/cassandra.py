"""Stores results in a table of Cassandra, as Celery's backend of that name does.

``_cassandra_rows`` describes the table. A write is a lightweight transaction: it is carried out only if the partition
has the version that was read, whichever servers take part. A result's row is written by the same transaction, as a
batch of one partition. The server removes expired cells by itself (``USING TTL``).

A write that timed out may have been carried out. The next attempt then meets the version which the first one has
written, and knows it.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from secrets import token_hex
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult, unquote

from taskq_cloud.core.flows import Call, CallError, Flow, Trouble
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.ports import Service
from taskq_cloud.core.servers.http import OPTIONS, switch
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.buckets import FailureKind, StoredObject, StoreErrors, Write
from taskq_cloud.stores.results import _cassandra_rows as rows
from taskq_cloud.stores.results._conditional_documents import ConditionalDocuments
from taskq_cloud.stores.results._conditional_writes import Decision
from taskq_cloud.stores.results._documents import RESERVATIONS_PER_SECOND, DocumentResults

LARGEST_RECORD_BYTES: Final = 4_000_000
"""The largest payload of one record. A server takes writes of 16 MiB by default (half a segment of its commit log), and
a transaction keeps the write twice."""

DEFAULT_TABLE: Final = "celery_results"
_PORT: Final = 9042
_LONGEST_TTL: Final = 630_720_000
"""The longest time to live, 20 years."""
_NAME: Final = re.compile(r"[A-Za-z]\w*", re.ASCII)
_LEVEL: Final = "LOCAL_QUORUM"
_LEVELS: Final = frozenset({"ANY", "ONE", "TWO", "THREE", "QUORUM", "ALL", "LOCAL_QUORUM", "EACH_QUORUM", "LOCAL_ONE"})
_SERIAL: Final = "SERIAL"
_APPLIED: Final = "[applied]"
_CHANGED: Final = "NotApplied"

_KINDS: Final = {
    _CHANGED: FailureKind.CONDITION_FAILED,
    "TableNotFound": FailureKind.STORE_NOT_FOUND,
    "KeyspaceNotFound": FailureKind.STORE_NOT_FOUND,
    "AuthenticationFailed": FailureKind.ACCESS_DENIED,
    "Unauthorized": FailureKind.ACCESS_DENIED,
}
_NEEDS: Final = {
    "read": "reading the table (permission SELECT)",
    "write": "writing the table (permissions MODIFY and SELECT)",
    "create": "creating the table or adding columns (permissions CREATE and ALTER of the keyspace)",
}

SETTINGS: Final = (
    "auth_kwargs",
    "auth_provider",
    "bundle_path",
    "entry_ttl",
    "options",
    "read_consistency",
    "secure_bundle_path",
    "table",
    "write_consistency",
)
"""Celery's settings, without their ``cassandra_``."""
_IN_URL: Final = ("entry_ttl", "read_consistency", "serial_consistency", "table", "tls", "write_consistency", *OPTIONS)


class CassandraResults(DocumentResults):
    """The store behind ``cassandra://user:password@host1,host2:9042/keyspace``.

    Args:
        connection: the options of ``clients.cassandra.open_client``.
        keyspace: the keyspace, which must exist.
        table: the table.
        levels: ``read_consistency``, ``write_consistency`` and ``serial_consistency``.
        entry_ttl: the longest time in seconds that a result is kept; None: as long as it says.
        clock: returns the time, in seconds since the epoch.
    """

    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(
        largest_record_bytes=LARGEST_RECORD_BYTES,
        joins=True,
        claims=True,
        reservations_per_second=RESERVATIONS_PER_SECOND,
        shared_between_processes=True,
        durable=True,
        loads_together=True,
    )

    def __init__(
        self,
        connection: Mapping[str, Any],
        keyspace: str,
        table: str = DEFAULT_TABLE,
        *,
        levels: Mapping[str, str] | None = None,
        entry_ttl: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connection = dict(connection)
        place = self._connection.get("bundle") or f"{','.join(connection['hosts'])}:{connection['port']}"
        self._table = _Table(str(place), keyspace, table, levels or {}, entry_ttl, clock)
        super().__init__(self._table, clock=clock)
        self.documents = self._writes = _Partitions(self._table)

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> CassandraResults:
        """Make the store for ``cassandra://user:password@host1,host2:9042/keyspace?table=name``.

        Args:
            url: the URL; takes the options ``table``, ``read_consistency``, ``write_consistency``,
                ``serial_consistency``, ``entry_ttl``, ``tls``, ``ca_file`` and ``verify``.
            options: Celery's settings by their names without ``cassandra_``.

        Raises:
            ImproperlyConfigured: the URL names no keyspace, or a part of it or an option can't be read.
        """
        query = query_of(url, _IN_URL)
        given: dict[str, Any] = {name: options[name] for name in SETTINGS if options.get(name) is not None} | query
        keyspace, table = unquote(url.path).strip("/"), str(given.get("table", DEFAULT_TABLE))
        if not _NAME.fullmatch(keyspace) or not _NAME.fullmatch(table):
            raise ImproperlyConfigured(
                f"{shown(url)} doesn't name a keyspace and a table: write cassandra://host1,host2/keyspace?table=name"
            )
        levels = {name: _level(url, given, name) for name in ("read_consistency", "write_consistency")}
        serial = str(given.get("serial_consistency", _SERIAL)).upper()
        if serial not in (_SERIAL, "LOCAL_SERIAL"):
            raise ImproperlyConfigured(f"{shown(url)}: serial_consistency is SERIAL or LOCAL_SERIAL, not {serial!r}")
        connection = _connection(url, query, given)
        ttl = _entry_ttl(url, given.get("entry_ttl"))
        # A name without quotes is in lower case for CQL, and Celery writes none around the table.
        return cls(connection, keyspace, table.lower(), levels={**levels, "serial_consistency": serial}, entry_ttl=ttl)

    @property
    def services(self) -> Mapping[str, Service]:
        """The client of the cluster."""
        return {self._table.service: Service("cassandra", tuple(self._connection.items()))}

    def _key(self, task_id: str) -> str:
        return task_id

    def _encoded(self, name: str) -> str:
        return name


def _connection(url: SplitResult, query: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the client.

    Raises:
        ImproperlyConfigured: the hosts can't be read, or both hosts and a bundle are given.
    """
    login, _, hosts = url.netloc.rpartition("@")
    user, _, password = login.partition(":")
    bundle = given.get("secure_bundle_path") or given.get("bundle_path")
    if bool(bundle) == bool(hosts):
        raise ImproperlyConfigured(f"{shown(url)}: name either hosts or a secure_bundle_path")
    names, ports = list[str](), set[str]()
    for host in hosts.split(",") if hosts else ():
        name, colon, port = host.rpartition(":")
        names.append((name if colon and not host.endswith("]") else host).strip("[]"))
        ports |= {port} if colon and not host.endswith("]") else set()
    if len(ports) > 1 or not all(port.isdecimal() for port in ports) or (hosts and not all(names)):
        raise ImproperlyConfigured(f"{shown(url)}: the hosts can't be read: write host1,host2:{_PORT}, with one port")
    return {
        "hosts": tuple(names),
        "port": int(next(iter(ports), _PORT)),
        "user": unquote(user),
        "password": unquote(password),
        "auth_provider": given.get("auth_provider"),
        "auth_kwargs": given.get("auth_kwargs"),
        "bundle": bundle,
        "tls": switch(url, query, "tls", default=False),
        "ca_file": query.get("ca_file", ""),
        "verify": switch(url, query, "verify", default=True),
        "options": given.get("options"),
    }


def _level(url: SplitResult, given: Mapping[str, Any], name: str) -> str:
    level = str(given.get(name, _LEVEL)).upper()
    if level not in _LEVELS:
        raise ImproperlyConfigured(f"{shown(url)}: {name}={level!r} must be one of {', '.join(sorted(_LEVELS))}")
    return level


def _entry_ttl(url: SplitResult, given: Any) -> int | None:
    if given is None:
        return None
    try:
        seconds = math.ceil(float(given))
    except ValueError:
        seconds = 0
    if not 0 < seconds <= _LONGEST_TTL:
        raise ImproperlyConfigured(f"{shown(url)}: entry_ttl={given!r} must be from 1 to {_LONGEST_TTL} seconds")
    return seconds


class _Partitions(ConditionalDocuments):
    """The partitions of the table. One that only Celery has written has no version that a write could miss."""

    def change_each(
        self,
        decisions: Mapping[str, Decision],
        found: Mapping[str, StoredObject | None] | None = None,
        pause: Callable[[float], float] | None = None,
    ) -> Flow[dict[str, StoredObject | Exception | None]]:
        """Write objects: see ``ConditionalWrites.change_each``. None is assumed to be absent: they are read before."""
        if found is None:
            found = yield from self.read(decisions)
        return (yield from super().change_each(decisions, found, pause))


class _Table:
    """The partitions of the table: see ``stores.buckets.Collection``."""

    reads_together = 100
    writes_together = 1
    deletes_versions = False
    created_early = False

    def __init__(
        self,
        place: str,
        keyspace: str,
        table: str,
        levels: Mapping[str, str],
        entry_ttl: int | None,
        clock: Callable[[], float],
    ) -> None:
        self.service = f"cassandra:{place}"
        self._given = {"keyspace": keyspace, "table": table, "columns": rows.OURS}
        self._reads = {"consistency": levels.get("read_consistency", _LEVEL)}
        self._writes = {
            "consistency": levels.get("write_consistency", _LEVEL),
            "serial_consistency": levels.get("serial_consistency", _SERIAL),
        }
        self._entry_ttl, self._clock = entry_ttl, clock
        self._statements = rows.Statements.of(f'"{keyspace}".{table}')
        name = f"Cassandra table {keyspace}.{table} ({place})"
        self.errors = StoreErrors(name, self._statements.create, _KINDS, _NEEDS)

    def creation(self) -> Sequence[Call]:
        return [self._call("create", create=self._statements.create)]

    def get(self, keys: Sequence[str]) -> Call:
        return self._call("read", statements=[(self._statements.select, (key,)) for key in keys], **self._reads)

    def found(self, keys: Sequence[str], answer: Any) -> Mapping[str, StoredObject]:
        return {key: rows.object_of(key, each[0]) for key, each in zip(keys, answer, strict=True) if each}

    def put(self, writes: Sequence[Write]) -> Call:
        (write,) = writes
        version = rows.Version.read(write.over)
        # The row must be the latest one for Celery, also if another machine's clock is ahead.
        done_ms = max(int(self._clock() * 1000), version.done_ms + 1)
        ours, row = rows.values_of(write.new, done_ms)
        ttl = self._ttl(write.new)
        statements: list[tuple[str, tuple[Any, ...]]] = [
            (self._statements.update, (ttl, token_hex(8), ours, write.key, version.tag))
        ]
        if row is not None:
            values = (row["status"], row["result"], row["traceback"], row["children"], row["date_done"])
            statements.append((self._statements.insert, (write.key, *values, ttl)))
        return self._call("write", statements=statements, **self._writes)

    def outcomes(self, call: Call, answer: Any) -> Sequence[Any]:
        if not answer or answer[0][_APPLIED]:
            return [None]
        written = call.parameters["statements"][0][1][1]
        if any(each.get("taskq_tag") == written for each in answer):
            return [None]  # an attempt that timed out has written it
        return [CallError(call, _CHANGED, "the partition has changed", Trouble.REFUSED)]

    def delete(self, found: Mapping[str, StoredObject | None]) -> Call:
        return self._call("write", statements=[(self._statements.delete, (key,)) for key in found], **self._writes)

    def _ttl(self, new: StoredObject) -> int:
        """How long the cells live, in seconds; 0: for ever."""
        longest = self._entry_ttl if new.metadata else None
        if new.expires_at is None or new.expires_at == math.inf:
            return longest or 0
        seconds = max(1, math.ceil(new.expires_at - self._clock()))
        return min(seconds, longest or _LONGEST_TTL, _LONGEST_TTL)

    def _call(self, operation: str, **parameters: Any) -> Call:
        return Call(self.service, operation, {**self._given, **parameters})
