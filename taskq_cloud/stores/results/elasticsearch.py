"""Stores results in an index of Elasticsearch or OpenSearch, as Celery's backend of that name does.

A document's id is ``celery-task-meta-<task id>``, and its ``result`` is the result document as a text; ``taskq`` has
our metadata, and ``expires_at`` the time at which it may be removed. Conditions are ``op_type=create`` for a new
document and ``if_seq_no`` with ``if_primary_term`` for a replaced one (Elasticsearch's "Optimistic concurrency
control"). Documents are read by their ids, which sees each write at once: no refresh is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import SplitResult, unquote

from taskq_cloud.core import serializers
from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Trouble
from taskq_cloud.core.servers.http import OPTIONS, HTTPServer, segment
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.buckets import FailureKind, StoredObject, Write
from taskq_cloud.stores.results._documents import FIELDS, SWEPT_AT_ONCE, fields_of, object_of
from taskq_cloud.stores.results._http_documents import HTTPCollection, HTTPResults, capabilities

LARGEST_RECORD_BYTES: Final = 32 * 1024 * 1024
"""The largest payload of one record. A request may have 100 MB (``http.max_content_length``), and a payload grows when
it is quoted as JSON."""

DEFAULT_INDEX: Final = "celery"
_PORT: Final = 9200

_LAST_TIME: Final = 253_402_300_799_000
"""The latest time that an index takes, in milliseconds: the end of the year 9999."""

_KINDS: Final = {
    "version_conflict_engine_exception": FailureKind.CONDITION_FAILED,
    "resource_already_exists_exception": FailureKind.CONDITION_FAILED,
    "document_missing_exception": FailureKind.NOT_FOUND,
    "index_not_found_exception": FailureKind.STORE_NOT_FOUND,
    # A bulk request's part that found its queue full: the whole request has succeeded.
    "es_rejected_execution_exception": FailureKind.CONFLICT,
    "rejected_execution_exception": FailureKind.CONFLICT,
    "unavailable_shards_exception": FailureKind.CONFLICT,
    "security_exception": FailureKind.ACCESS_DENIED,
}

_NEEDS: Final = {
    "create index": "creating the index (privilege create_index)",
    "_mget": "reading documents (privilege read)",
    "_bulk": "writing documents (privilege write)",
    "_delete_by_query": "removing expired documents (privileges read and delete)",
}

_MAPPING: Final = {
    "mappings": {
        "dynamic": False,
        "properties": {
            "result": {"type": "text", "index": False},
            "@timestamp": {"type": "date"},
            "expires_at": {"type": "date", "format": "epoch_millis"},
        },
    }
}
"""What a new index searches by: the times only, so that a result costs no more than its text."""


class ElasticsearchResults(HTTPResults):
    """The store behind ``elasticsearch://host:9200/index`` and ``opensearch://host:9200/index``.

    Args:
        server: the server.
        index: the index.
        clock: returns the time, in seconds since the epoch.
    """

    capabilities = capabilities(LARGEST_RECORD_BYTES)

    def __init__(
        self, server: HTTPServer, index: str = DEFAULT_INDEX, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._index = _Index(server, index, clock)
        super().__init__(self._index, server, clock=clock)

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> ElasticsearchResults:
        """Make the store for ``elasticsearch://user:password@host:9200/index``, or ``elasticsearch+https://``.

        Celery's URL may name a document type after the index. Servers since version 7 have no types, so it is not used.

        Args:
            url: the URL; takes the options ``api_key``, ``ca_file`` and ``verify``.
            options: not used.

        Raises:
            ImproperlyConfigured: the URL has an unknown option or more than an index and a type.
        """
        query = query_of(url, ("api_key", *OPTIONS))
        index, *rest = unquote(url.path).strip("/").split("/")
        if len(rest) > 1 or index != index.lower() or index.startswith(("_", "-", "+")):
            raise ImproperlyConfigured(
                f"{shown(url)} doesn't name an index: write {url.scheme}://host:9200/index, in lower case"
            )
        server = HTTPServer.of(url, query, port=_PORT, tls=url.scheme.endswith("+https"))
        return cls(server, index or DEFAULT_INDEX)

    def sweep(self, now: float) -> Flow[None]:
        """Remove some of the documents that have expired."""
        (answer,) = yield Gather([self._index.removal(now)])
        self._index.errors.check(answer)


class _Index(HTTPCollection):
    created_early = True  # the server itself would create it with every word of the results in its search

    def __init__(self, server: HTTPServer, name: str, clock: Callable[[], float]) -> None:
        super().__init__(
            server,
            f"Elasticsearch index {name}",
            f"curl -X PUT {server.url}/{name}",
            _KINDS,
            _NEEDS,
        )
        self._path = f"/{segment(name)}"
        self._clock = clock

    def creation(self) -> Sequence[Call]:
        return [self.call("create index", "PUT", self._path, json=_MAPPING)]

    def get(self, keys: Sequence[str]) -> Call:
        return self.call("_mget", "POST", f"{self._path}/_mget", json={"ids": list(keys)})

    def found(self, keys: Sequence[str], answer: Any) -> Mapping[str, StoredObject]:
        found: dict[str, StoredObject] = {}
        for each in answer["body"]["docs"]:
            error = each.get("error")
            if error is not None and error["type"] != "index_not_found_exception":
                # A shard that gives no answer must not look like a document that isn't there.
                self.errors.check(self._failed(self.get(keys), error, Trouble.TRANSIENT))
            if each.get("found"):
                found[each["_id"]] = _object_of(each)
        return found

    def put(self, writes: Sequence[Write]) -> Call:
        return self.call("_bulk", "POST", f"{self._path}/_bulk", lines=list(self._lines(writes)))

    def delete(self, found: Mapping[str, StoredObject | None]) -> Call:
        lines = [{"delete": {"_id": key}} for key in found]
        return self.call("_bulk", "POST", f"{self._path}/_bulk", lines=lines)

    def outcomes(self, call: Call, answer: Any) -> Sequence[Any]:
        parts = (next(iter(each.values())) for each in answer["body"]["items"])
        return [self._failed(call, each["error"], Trouble.REFUSED) if "error" in each else None for each in parts]

    def removal(self, now: float) -> Call:
        """The call that removes some of the documents that have expired; others may be written meanwhile."""
        return self.call(
            "_delete_by_query",
            "POST",
            f"{self._path}/_delete_by_query",
            params={"conflicts": "proceed", "max_docs": SWEPT_AT_ONCE, "wait_for_completion": "false"},
            json={"query": {"range": {"expires_at": {"lt": int(now * 1000)}}}},
        )

    def _lines(self, writes: Sequence[Write]) -> Iterator[Any]:
        written_at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        for write in writes:
            if write.over is None:
                yield {"create": {"_id": write.key}}
            else:
                seq_no, _, term = str(write.over.tag).partition(":")
                yield {"index": {"_id": write.key, "if_seq_no": int(seq_no), "if_primary_term": int(term)}}
            document: dict[str, Any] = {
                "result": write.new.body.decode(),
                "@timestamp": written_at.replace("+00:00", "Z"),
                FIELDS: fields_of(write.new),
            }
            if write.new.expires_at is not None:
                document["expires_at"] = min(int(write.new.expires_at * 1000) + 1, _LAST_TIME)
            yield document

    @staticmethod
    def _failed(call: Call, error: Any, trouble: Trouble) -> CallError:
        return CallError(call, str(error["type"]), str(error.get("reason") or ""), trouble)


def _object_of(document: Mapping[str, Any]) -> StoredObject:
    source = document["_source"]
    result = source.get("result")
    if isinstance(result, dict):  # Celery's with elasticsearch_save_meta_as_text off
        texts = {name: _loaded(result.get(name)) for name in ("result", "traceback")}
        result = serializers.dumps({**result, **texts})
    tag = f"{document['_seq_no']}:{document['_primary_term']}"
    return object_of(result, source.get(FIELDS), tag)


def _loaded(value: Any) -> Any:
    return serializers.loads(value) if isinstance(value, str) and value else value
