"""Stores results in a bucket of Riak KV, under the keys and in the form of the backend that Celery had for it.

A key is ``celery-task-meta-<task id>``, and its value is the result document as a text of JSON; our metadata are the
object's user metadata. A new object is written with ``If-None-Match: *``, and another one over the version that was
read, with ``If-Match`` and its vector clock (Riak KV's "HTTP Store Object").

The node that takes a write evaluates its conditions on what it reads from the others, and doesn't keep them from
writing meanwhile. So two writers may both succeed, and no lock, slot or join can be built on that: the capabilities say
so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult, unquote

from taskq_cloud.core import serializers
from taskq_cloud.core.flows import Call
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.servers.http import OPTIONS, HTTPServer, segment, switch
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.buckets import FailureKind, StoredObject, Write
from taskq_cloud.stores.results._http_documents import HTTPCollection, HTTPResults, capabilities

LARGEST_RECORD_BYTES: Final = 4_000_000
"""The largest payload of one record. Riak warns of objects over 5 MB (``object.size.warning_threshold``)."""

DEFAULT_BUCKET: Final = "celery"
_PORT: Final = 8098
_META: Final = "x-riak-meta-"

_KINDS: Final = {"HTTP 404": FailureKind.NOT_FOUND, "HTTP 412": FailureKind.CONDITION_FAILED}
_NEEDS: Final = {
    "fetch object": "reading (permission riak_kv.get; allow_mult of the bucket must be false)",
    "store object": "writing (permission riak_kv.put)",
    "delete object": "removing (permission riak_kv.delete)",
}


class RiakResults(HTTPResults):
    """The store behind ``riak://host:8098/bucket``.

    Args:
        server: one node, or a load balancer.
        bucket: the bucket.
        bucket_type: the bucket's type.
        clock: returns the time, in seconds since the epoch.
    """

    capabilities: ClassVar[StoreCapabilities] = replace(
        capabilities(LARGEST_RECORD_BYTES, conditional=False), saves_together=False
    )

    def __init__(
        self,
        server: HTTPServer,
        bucket: str = DEFAULT_BUCKET,
        bucket_type: str = "default",
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(_Bucket(server, bucket, bucket_type), server, clock=clock)

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> RiakResults:
        """Make the store for ``riak://host:8098/bucket``.

        Args:
            url: the URL; takes the options ``type``, ``tls``, ``ca_file`` and ``verify``.
            options: not used.

        Raises:
            ImproperlyConfigured: the URL has an unknown option, or its path isn't the name of a bucket.
        """
        query = query_of(url, ("type", "tls", *OPTIONS))
        bucket = unquote(url.path).strip("/")
        if "/" in bucket:
            raise ImproperlyConfigured(f"{shown(url)} doesn't name a bucket: write riak://host:8098/bucket")
        server = HTTPServer.of(url, query, port=_PORT, tls=switch(url, query, "tls", default=False))
        return cls(server, bucket or DEFAULT_BUCKET, query.get("type", "default"))


class _Bucket(HTTPCollection):
    reads_together = 1
    writes_together = 1

    def __init__(self, server: HTTPServer, name: str, bucket_type: str) -> None:
        super().__init__(server, f"Riak bucket {name}", "Riak creates buckets by itself", _KINDS, _NEEDS)
        typed = "" if bucket_type == "default" else f"/types/{segment(bucket_type)}"
        self._path = f"{typed}/buckets/{segment(name)}/keys"

    def get(self, keys: Sequence[str]) -> Call:
        return self.call("fetch object", "GET", self._object(keys[0]), headers={"Accept": "*/*"})

    def found(self, keys: Sequence[str], answer: Any) -> Mapping[str, StoredObject]:
        headers = answer["headers"]
        metadata = {
            name.lower().removeprefix(_META): value for name, value in headers.items() if name.lower().startswith(_META)
        }
        tag = f"{headers['ETag']} {headers['X-Riak-Vclock']}"
        value = answer["body"]
        text = value if isinstance(value, str) else serializers.dumps(value)
        return {keys[0]: StoredObject(text.encode(), metadata, tag)}

    def put(self, writes: Sequence[Write]) -> Call:
        (write,) = writes
        headers = {f"X-Riak-Meta-{name.capitalize()}": value for name, value in write.new.metadata.items()}
        if write.over is None:
            headers["If-None-Match"] = "*"
        else:
            headers["If-Match"], _, headers["X-Riak-Vclock"] = str(write.over.tag).partition(" ")
        value = write.new.body.decode()
        return self.call("store object", "PUT", self._object(write.key), json=value, headers=headers)

    def delete(self, found: Mapping[str, StoredObject | None]) -> Call:
        (key,) = found
        return self.call("delete object", "DELETE", self._object(key))

    def outcomes(self, call: Call, answer: Any) -> Sequence[Any]:
        return [None]

    def _object(self, key: str) -> str:
        return f"{self._path}/{segment(key)}"
