"""Stores results in a collection of ArangoDB, as Celery's backend of that name does.

A document's key is ``celery-task-meta-<task id>``, and its ``task`` is the result document as a text; ``taskq`` has our
metadata, and ``expires_at`` the time at which an index (TTL) lets the server remove it. A new document is inserted with
``overwriteMode=conflict``, and another one replaced in the revision that was read, with ``ignoreRevs=false``
(ArangoDB's "HTTP interface for documents").
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult, unquote

from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.servers.http import OPTIONS, HTTPServer, segment, switch
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.buckets import FailureKind, StoredObject, Write
from taskq_cloud.stores.results._conditional_results import quoted
from taskq_cloud.stores.results._documents import FIELDS, fields_of, object_of
from taskq_cloud.stores.results._http_documents import HTTPCollection, HTTPResults, capabilities

LARGEST_RECORD_BYTES: Final = 32 * 1024 * 1024
"""The largest payload of one record, which is in memory several times on both sides. The server takes 512 MB."""

DEFAULT_NAME: Final = "celery"
_PORT: Final = 8529
_LONGEST_KEY: Final = 254
"""The longest key of a document, in bytes (ArangoDB's "Document keys")."""

_KINDS: Final = {
    "1200": FailureKind.CONDITION_FAILED,
    "1202": FailureKind.NOT_FOUND,
    "1203": FailureKind.STORE_NOT_FOUND,
    "1207": FailureKind.CONDITION_FAILED,
    "1210": FailureKind.CONDITION_FAILED,
    "1228": FailureKind.STORE_NOT_FOUND,
}
_NEEDS: Final = {
    "create collection": "creating the collection (access level rw of the database)",
    "create index": "creating the index on expires_at (access level rw of the database)",
    "read documents": "reading documents (access level ro of the collection)",
    "insert documents": "writing documents (access level rw of the collection)",
    "replace documents": "writing documents (access level rw of the collection)",
    "remove documents": "removing documents (access level rw of the collection)",
}


class ArangoDBResults(HTTPResults):
    """The store behind ``arangodb://user:password@host:8529/database/collection``.

    Args:
        server: the server.
        database: the database, which must exist.
        collection: the collection.
        wait_for_sync: whether the server answers a write only once it is on its disk.
        clock: returns the time, in seconds since the epoch.
    """

    capabilities: ClassVar[StoreCapabilities] = capabilities(LARGEST_RECORD_BYTES)

    def __init__(
        self,
        server: HTTPServer,
        database: str = DEFAULT_NAME,
        collection: str = DEFAULT_NAME,
        *,
        wait_for_sync: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(_Collection(server, database, collection, wait_for_sync), server, clock=clock)

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> ArangoDBResults:
        """Make the store for ``arangodb://user:password@host:8529/database/collection``.

        Args:
            url: the URL; takes the options ``tls``, ``ca_file``, ``verify`` and ``wait_for_sync``.
            options: not used.

        Raises:
            ImproperlyConfigured: the URL has an unknown option, or its path isn't a database and a collection.
        """
        query = query_of(url, ("tls", "wait_for_sync", *OPTIONS))
        names = [unquote(part) for part in url.path.strip("/").split("/") if part]
        if names[2:]:
            raise ImproperlyConfigured(
                f"{shown(url)} doesn't name a collection: write arangodb://host:8529/database/collection"
            )
        database, collection = [*names, DEFAULT_NAME, DEFAULT_NAME][:2] if names else (DEFAULT_NAME, DEFAULT_NAME)
        return cls(
            HTTPServer.of(url, query, port=_PORT, tls=switch(url, query, "tls", default=False)),
            database,
            collection,
            wait_for_sync=switch(url, query, "wait_for_sync", default=False),
        )

    def _encoded(self, name: str) -> str:
        encoded = quoted(name).replace("~", "%7E")
        # The longest key, less the longest beginning of ours.
        if len(encoded) > _LONGEST_KEY - 20:
            return f"sha256-{hashlib.sha256(name.encode()).hexdigest()}"
        return encoded


class _Collection(HTTPCollection):
    def __init__(self, server: HTTPServer, database: str, name: str, wait_for_sync: bool) -> None:
        self._name = name
        self._api = f"/_db/{segment(database)}/_api"
        self._path = f"{self._api}/document/{segment(name)}"
        self._sync = {"waitForSync": "true"} if wait_for_sync else {}
        create = f'db._createDatabase("{database}"); db._useDatabase("{database}"); db._create("{name}")'
        super().__init__(server, f"ArangoDB collection {database}/{name}", f"in arangosh: {create}", _KINDS, _NEEDS)

    def creation(self) -> Sequence[Call]:
        index = {"type": "ttl", "fields": ["expires_at"], "expireAfter": 0}
        params = {"collection": self._name}
        return [
            self.call("create collection", "POST", f"{self._api}/collection", json={"name": self._name}),
            self.call("create index", "POST", f"{self._api}/index", params=params, json=index),
        ]

    def get(self, keys: Sequence[str]) -> Call:
        return self.call("read documents", "PUT", self._path, params={"onlyget": "true"}, json=list(keys))

    def found(self, keys: Sequence[str], answer: Any) -> Mapping[str, StoredObject]:
        found: dict[str, StoredObject] = {}
        for each in answer["body"]:
            if "errorNum" not in each:
                found[each["_key"]] = object_of(each["task"], each.get(FIELDS), each["_rev"])
            elif str(each["errorNum"]) != "1202":
                self.errors.check(self._failed(self.get(keys), each))
        return found

    def put(self, writes: Sequence[Write]) -> Call:
        documents = [_document(each) for each in writes]
        if writes[0].over is None:
            params = {"overwriteMode": "conflict", **self._sync}
            return self.call("insert documents", "POST", self._path, params=params, json=documents)
        params = {"ignoreRevs": "false", **self._sync}
        return self.call("replace documents", "PUT", self._path, params=params, json=documents)

    def delete(self, found: Mapping[str, StoredObject | None]) -> Call:
        return self.call("remove documents", "DELETE", self._path, params=self._sync, json=list(found))

    def outcomes(self, call: Call, answer: Any) -> Sequence[Any]:
        return [self._failed(call, each) if each.get("error") else None for each in answer["body"]]

    @staticmethod
    def _failed(call: Call, each: Mapping[str, Any]) -> CallError:
        return CallError(call, str(each["errorNum"]), str(each.get("errorMessage") or ""), Trouble.REFUSED)


def _document(write: Write) -> dict[str, Any]:
    document: dict[str, Any] = {"_key": write.key, "task": write.new.body.decode(), FIELDS: fields_of(write.new)}
    if write.over is not None:
        document["_rev"] = write.over.tag
    if write.new.expires_at is not None:
        document["expires_at"] = write.new.expires_at
    return document
