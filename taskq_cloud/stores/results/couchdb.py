"""Stores results in a database of CouchDB, as Celery's backend of that name does.

A document's id is ``celery-task-meta-<task id>``, and its ``value`` is the result document as a text; ``taskq`` has our
metadata, and ``expires_at`` the time at which it may be removed. A document is written over the revision that was read
(``_rev``), and a new one without a revision: the server refuses both with a conflict if the document has changed
(CouchDB's documentation, "/db/_bulk_docs").
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult, unquote

from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Trouble
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.servers.http import OPTIONS, HTTPServer, segment, switch
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.buckets import FailureKind, StoredObject, Write
from taskq_cloud.stores.results._documents import FIELDS, SWEPT_AT_ONCE, fields_of, object_of
from taskq_cloud.stores.results._http_documents import HTTPCollection, HTTPResults, capabilities

LARGEST_RECORD_BYTES: Final = 7_000_000
"""The largest payload of one record: a document may have 8,000,000 bytes (``couchdb/max_document_size``)."""

DEFAULT_DATABASE: Final = "default"
_PORT: Final = 5984
_INDEX: Final = "taskq-expires"

_KINDS: Final = {
    "conflict": FailureKind.CONDITION_FAILED,
    "file_exists": FailureKind.CONDITION_FAILED,
    # No request names a document in its path, so what isn't found is the database.
    "not_found": FailureKind.STORE_NOT_FOUND,
    "unauthorized": FailureKind.ACCESS_DENIED,
    "forbidden": FailureKind.ACCESS_DENIED,
    "document_too_large": FailureKind.TOO_LARGE_TO_WRITE,
}

_NEEDS: Final = {
    "create database": "creating the database (role _admin)",
    "create index": "creating the index of expired documents (role _admin of the database)",
    "_all_docs": "reading documents (member of the database)",
    "_bulk_docs": "writing documents (member of the database)",
    "_find": "finding expired documents (member of the database)",
}


class CouchDBResults(HTTPResults):
    """The store behind ``couchdb://user:password@host:5984/database``.

    Args:
        server: the server.
        database: the database.
        clock: returns the time, in seconds since the epoch.
    """

    capabilities: ClassVar[StoreCapabilities] = capabilities(LARGEST_RECORD_BYTES)

    def __init__(
        self,
        server: HTTPServer,
        database: str = DEFAULT_DATABASE,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = _Database(server, database)
        super().__init__(self._database, server, clock=clock)

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> CouchDBResults:
        """Make the store for ``couchdb://user:password@host:5984/database``.

        Args:
            url: the URL; takes the options ``cluster``, ``tls``, ``ca_file`` and ``verify``.
            options: not used.

        Raises:
            ImproperlyConfigured: the URL has an unknown option, or its path isn't the name of a database.
        """
        query = query_of(url, ("cluster", "tls", *OPTIONS))
        database = unquote(url.path).strip("/")
        if database.startswith("_") or database != database.lower():
            raise ImproperlyConfigured(
                f"{shown(url)} doesn't name a database: write couchdb://host:5984/database, in lower case"
            )
        server = HTTPServer.of(url, query, port=_PORT, tls=switch(url, query, "tls", default=False))
        kind = CouchDBClusterResults if switch(url, query, "cluster", default=False) else cls
        return kind(server, database or DEFAULT_DATABASE)

    def sweep(self, now: float) -> Flow[None]:
        """Remove some of the documents that have expired, in the versions that are found."""
        (answer,) = yield Gather([self._database.expired(now)])
        rows = self._database.errors.check(answer)["body"]["docs"]
        expired = [each for each in rows if each.get("expires_at") is not None]
        yield from self.documents.remove({each["_id"]: StoredObject(b"", {}, each["_rev"]) for each in expired})


class CouchDBClusterResults(CouchDBResults):
    """The store behind ``couchdb://...?cluster=true``, whose nodes may both accept a write over one revision.

    The database keeps both until one of them wins, so no join, lock or slot can be built on its conditions.
    """

    capabilities: ClassVar[StoreCapabilities] = capabilities(LARGEST_RECORD_BYTES, conditional=False)


class _Database(HTTPCollection):
    deletes_versions = True

    def __init__(self, server: HTTPServer, name: str) -> None:
        super().__init__(
            server, f"CouchDB database {name}", f"curl -X PUT {server.url}/{segment(name)}", _KINDS, _NEEDS
        )
        self._path = f"/{segment(name)}"

    def creation(self) -> Sequence[Call]:
        index = {"index": {"fields": ["expires_at"]}, "ddoc": _INDEX, "name": _INDEX, "type": "json"}
        return [
            self.call("create database", "PUT", self._path),
            self.call("create index", "POST", f"{self._path}/_index", json=index),
        ]

    def get(self, keys: Sequence[str]) -> Call:
        path = f"{self._path}/_all_docs"
        return self.call("_all_docs", "POST", path, params={"include_docs": "true"}, json={"keys": list(keys)})

    def found(self, keys: Sequence[str], answer: Any) -> Mapping[str, StoredObject]:
        documents = (each["doc"] for each in answer["body"]["rows"] if each.get("doc"))
        return {each["_id"]: object_of(each["value"], each.get(FIELDS), each["_rev"]) for each in documents}

    def put(self, writes: Sequence[Write]) -> Call:
        return self._bulk([_document(each) for each in writes])

    def delete(self, found: Mapping[str, StoredObject | None]) -> Call:
        versions = {key: stored.tag for key, stored in found.items() if stored is not None}
        return self._bulk([{"_id": key, "_rev": tag, "_deleted": True} for key, tag in versions.items()])

    def outcomes(self, call: Call, answer: Any) -> Sequence[Any]:
        return [
            CallError(call, each["error"], str(each.get("reason") or ""), Trouble.REFUSED) if "error" in each else None
            for each in answer["body"]
        ]

    def expired(self, now: float) -> Call:
        """The call that finds some of the documents that have expired."""
        # Without the lower bound, servers also find documents that have no such field.
        query = {
            "selector": {"expires_at": {"$gt": 0, "$lt": now}},
            "fields": ["_id", "_rev", "expires_at"],
            "limit": SWEPT_AT_ONCE,
        }
        return self.call("_find", "POST", f"{self._path}/_find", json=query)

    def _bulk(self, documents: Sequence[Mapping[str, Any]]) -> Call:
        return self.call("_bulk_docs", "POST", f"{self._path}/_bulk_docs", json={"docs": documents})


def _document(write: Write) -> dict[str, Any]:
    document: dict[str, Any] = {"_id": write.key, "value": write.new.body.decode(), FIELDS: fields_of(write.new)}
    if write.over is not None:
        document["_rev"] = write.over.tag
    if write.new.expires_at is not None:
        document["expires_at"] = write.new.expires_at
    return document
