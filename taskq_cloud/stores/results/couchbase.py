"""Stores results in a bucket of Couchbase, as Celery's backend of that name does.

A document's key is ``celery-task-meta-<task id>``, and its value is the result document as a text, which is a JSON text
of its own. Our metadata are a further key of that document (``_embedded_fields``). A new document is inserted, and
another one replaced in the version that was read, its CAS (Couchbase's "Concurrent Document Mutations"). The server
removes expired documents by itself.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult, unquote

from taskq_cloud.core import serializers
from taskq_cloud.core.flows import Call
from taskq_cloud.core.lazy.values import dataclass, field
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.ports import Service
from taskq_cloud.core.servers.http import OPTIONS, switch
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.buckets import FailureKind, StoredObject, StoreErrors, Write
from taskq_cloud.stores.results._conditional_results import quoted
from taskq_cloud.stores.results._documents import RESERVATIONS_PER_SECOND, DocumentResults
from taskq_cloud.stores.results._embedded_fields import embedded, object_in

LARGEST_RECORD_BYTES: Final = 8_000_000
"""The largest payload of one record. A document has at most 20 MiB, in which quotes and line ends of the payload count
twice."""

DEFAULT_BUCKET: Final = "default"
_LONGEST_KEY: Final = 250
_WEB_PORTS: Final = {8091, 18091}
"""The ports of the web console: Celery's URLs have them, and the SDK wants that of documents, which it knows."""
_LATEST_EXPIRY: Final = 2**32 - 1
"""The latest time at which a document can expire, in seconds since the epoch."""
_LEAST_SECONDS: Final = 60
"""A document is kept for at least so long: what has expired is passed over by the reader's clock."""
_LEVELS: Final = ("majority", "majority_and_persist", "persist_to_majority")

_KINDS: Final = {
    "DocumentExists": FailureKind.CONDITION_FAILED,
    "CasMismatch": FailureKind.CONDITION_FAILED,
    "DocumentNotFound": FailureKind.NOT_FOUND,
    "BucketNotFound": FailureKind.STORE_NOT_FOUND,
    "Authentication": FailureKind.ACCESS_DENIED,
    "ValueTooLarge": FailureKind.TOO_LARGE_TO_WRITE,
}
_NEEDS: Final = {
    "get": "reading documents (role Data Reader of the bucket)",
    "insert": "writing documents (role Data Writer of the bucket)",
    "replace": "writing documents (role Data Writer of the bucket)",
    "remove": "removing documents (role Data Writer of the bucket)",
}


@dataclass(frozen=True, slots=True)
class CouchbaseServers:
    """The servers of a cluster, and how to be known to them.

    Args:
        url: the SDK's connection string: ``"couchbase://host1,host2"``.
        user: the user's name.
        password: the password.
        ca_file: the file of the authorities that are trusted; empty: those of the SDK.
        verify: whether the certificates of the servers are verified.
    """

    url: str
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    verify: bool = True


class CouchbaseResults(DocumentResults):
    """The store behind ``couchbase://user:password@host/bucket``.

    Args:
        servers: the servers.
        bucket: the bucket.
        durability: where a write has to be before it is answered: ``"majority"``, ``"majority_and_persist"`` or
            ``"persist_to_majority"``; empty: in the memory of one node.
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
        servers: CouchbaseServers,
        bucket: str = DEFAULT_BUCKET,
        *,
        durability: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._bucket = _Bucket(servers.url, bucket, clock)
        super().__init__(self._bucket, clock=clock)
        self._options: tuple[tuple[str, Any], ...] = (
            ("url", servers.url),
            ("bucket", bucket),
            ("user", servers.user),
            ("password", servers.password),
            ("ca_file", servers.ca_file),
            ("verify", servers.verify),
            ("durability", durability),
        )

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> CouchbaseResults:
        """Make the store for ``couchbase://user:password@host/bucket``, or ``couchbases://`` with TLS.

        Args:
            url: the URL, with one or more hosts; takes the options ``tls``, ``ca_file``, ``verify`` and ``durability``.
            options: not used.

        Raises:
            ImproperlyConfigured: the URL has an unknown option, or its path isn't the name of a bucket.
        """
        query = query_of(url, ("durability", "tls", *OPTIONS))
        bucket = unquote(url.path).strip("/")
        if "/" in bucket:
            raise ImproperlyConfigured(
                f"{shown(url)} doesn't name a bucket: write {url.scheme}://user:password@host/bucket"
            )
        durability = query.get("durability", "")
        if durability and durability not in _LEVELS:
            raise ImproperlyConfigured(f"{shown(url)}: durability={durability!r} must be one of {', '.join(_LEVELS)}")
        tls = switch(url, query, "tls", default=url.scheme == "couchbases")
        servers = CouchbaseServers(
            f"{'couchbases' if tls else 'couchbase'}://{_hosts(url)}",
            unquote(url.username or ""),
            unquote(url.password or ""),
            query.get("ca_file", ""),
            switch(url, query, "verify", default=True),
        )
        return cls(servers, bucket or DEFAULT_BUCKET, durability=durability)

    @property
    def services(self) -> Mapping[str, Service]:
        """The client of the bucket."""
        return {self._bucket.service: Service("couchbase", self._options)}

    def _encoded(self, name: str) -> str:
        encoded = quoted(name)
        # The longest key, less the longest beginning of ours.
        if len(encoded) > _LONGEST_KEY - 20:
            return f"sha256-{hashlib.sha256(name.encode()).hexdigest()}"
        return encoded


def _hosts(url: SplitResult) -> str:
    """The hosts of a URL, without the ports of the web console."""
    hosts = url.netloc.rpartition("@")[2].split(",")
    return ",".join(
        host if port not in map(str, _WEB_PORTS) else host.removesuffix(f":{port}")
        for host, port in ((each, each.rpartition(":")[2]) for each in hosts)
    )


class _Bucket:
    """The documents of a bucket: see ``stores.buckets.Collection``."""

    reads_together = 100
    writes_together = 1
    deletes_versions = False
    created_early = False

    def __init__(self, url: str, name: str, clock: Callable[[], float]) -> None:
        self.service = f"{url}/{name}"
        self._clock = clock
        creation = f"couchbase-cli bucket-create --bucket {name} --bucket-type couchbase --bucket-ramsize 256 ..."
        self.errors = StoreErrors(f"Couchbase bucket {name} ({url})", creation, _KINDS, _NEEDS)

    def creation(self) -> Sequence[Call]:
        return ()

    def get(self, keys: Sequence[str]) -> Call:
        return Call(self.service, "get", {"keys": list(keys)})

    def found(self, keys: Sequence[str], answer: Any) -> Mapping[str, StoredObject]:
        return {key: object_in(_body(value), cas) for key, (value, cas) in answer.items()}

    def put(self, writes: Sequence[Write]) -> Call:
        (write,) = writes
        text = json.dumps(embedded(write.new).decode(errors="surrogateescape"))
        parameters = {"key": write.key, "value": text.encode(), "seconds": self._seconds(write.new.expires_at)}
        if write.over is None:
            return Call(self.service, "insert", parameters)
        return Call(self.service, "replace", {**parameters, "cas": write.over.tag})

    def outcomes(self, call: Call, answer: Any) -> Sequence[Any]:
        return [None]

    def delete(self, found: Mapping[str, StoredObject | None]) -> Call:
        (key,) = found
        return Call(self.service, "remove", {"key": key})

    def _seconds(self, expires_at: float | None) -> int | None:
        """How long a document lives, up to a second more; None: for ever."""
        if expires_at is None or expires_at == math.inf:
            return None
        seconds = max(_LEAST_SECONDS, math.ceil(expires_at - self._clock()))
        return seconds if seconds + time.time() < _LATEST_EXPIRY else None


def _body(value: bytes) -> bytes:
    """The body of a value: Celery keeps a text, and other programs may keep the document itself."""
    found = json.loads(value)
    text = found if isinstance(found, str) else serializers.dumps(found)
    return text.encode(errors="surrogateescape")
