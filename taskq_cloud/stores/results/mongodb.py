"""Stores results in a collection of MongoDB, as Celery's backend of that name does.

A record is replaced by one filtered write: the filter is the rule of which record may replace which, and the unique
``_id`` keeps a second document from being inserted (``_mongodb_documents``). A join is one document to whose set a
member is added by an update, so that members who arrive at once don't wait for each other. Locks and slots are replaced
in the version that was read, as in all stores of documents (``_documents``).

The server removes expired documents by an index on ``expires_at`` (TTL), which the first write of a process creates if
it may.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from secrets import token_hex
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult, parse_qsl, unquote

from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Trouble
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.ports import Service
from taskq_cloud.core.records.record import Record
from taskq_cloud.core.urls import shown, without_secrets
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.buckets import FailureKind, StoredObject, StoreErrors, Write
from taskq_cloud.stores.results import _mongodb_documents as documents
from taskq_cloud.stores.results._documents import RESERVATIONS_PER_SECOND, DocumentResults

LARGEST_RECORD_BYTES: Final = 15_000_000
"""The largest payload of one record: a document has at most 16 MiB."""

DEFAULT_DATABASE: Final = "celery"
DEFAULT_COLLECTION: Final = "celery_taskmeta"

_NEVER: Final = 1e15
"""The time at which a join expires that doesn't: not every server of this protocol takes infinity."""
_DUPLICATE: Final = "11000"
_TOGETHER: Final = 100
"""The most records of one request, so that it takes a fraction of the time that a call may take."""
_ATTEMPTS: Final = 3
"""How often a refused replacement is tried: another writer may have inserted the document at the same moment."""

_KINDS: Final = {
    _DUPLICATE: FailureKind.CONDITION_FAILED,
    "13": FailureKind.ACCESS_DENIED,
    "18": FailureKind.ACCESS_DENIED,
    "8000": FailureKind.ACCESS_DENIED,  # Atlas
    "DocumentTooLarge": FailureKind.TOO_LARGE_TO_WRITE,
}
_NEEDS: Final = {
    "find": "reading documents (action find)",
    "replace": "writing documents (actions insert and update)",
    "find_update": "writing documents (actions find and update)",
    "delete": "removing documents (action remove)",
    "create_index": "creating the index on expires_at (action createIndex)",
}


class MongoDBResults(DocumentResults):
    """The store behind ``mongodb://user:password@host/database``.

    Args:
        url: the URL of the driver.
        database: the database.
        collection: the collection.
        clock: returns the time, in seconds since the epoch.
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
        url: str,
        database: str = DEFAULT_DATABASE,
        collection: str = DEFAULT_COLLECTION,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._collection = _Collection(without_secrets(url), database, collection)
        super().__init__(self._collection, clock=clock)

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> MongoDBResults:
        """Make the store for ``mongodb://user:password@host:27017/database?option=value`` or ``mongodb+srv://``.

        Args:
            url: the URL, with any of the driver's options; ``collection`` is an option of ours.
            options: not used.

        Raises:
            ImproperlyConfigured: the path is more than the name of a database, or writes are not to be acknowledged.
        """
        database = unquote(url.path).strip("/")
        if "/" in database:
            raise ImproperlyConfigured(f"{shown(url)} doesn't name a database: write {url.scheme}://host/database")
        query = parse_qsl(url.query, keep_blank_values=True)
        collection = dict(query).get("collection", DEFAULT_COLLECTION)
        if dict(query).get("w") == "0":
            raise ImproperlyConfigured(
                f"{shown(url)}: with w=0 the server doesn't say whether it wrote: remove the option"
            )
        kept = "&".join(part for part in url.query.split("&") if not part.startswith("collection="))
        netloc = url.netloc or "localhost"
        full = url._replace(netloc=netloc, path=url.path or "/", query=kept).geturl()
        return cls(full, database or DEFAULT_DATABASE, collection)

    @property
    def services(self) -> Mapping[str, Service]:
        """The client of the deployment."""
        return {self._collection.service: Service("mongodb", (("url", self._url),))}

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read records in one call: see ``ResultStore.load``.

        Raises:
            DecodeError: Celery wrote a record that can't be decoded; the error names the task.
        """
        if not ids:
            return {}
        now = self._clock()
        found = yield from self._collection.made(self._collection.find(ids))
        records = map(documents.record_of, found)
        return {each.id: each for each in records if each.expires_at is None or each.expires_at > now}

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Count a member, in one call for all members but the first: see ``ResultStore.join``."""
        key, now = self._name("join", join_id), self._clock()
        until = _NEVER if expires_at is None else expires_at
        times = {"expires": until, "expires_at": documents.date_of(until)}
        arrive = {"$addToSet": {"members": member}, "$max": times}
        # The first member of a join, or of one that has expired, makes the document. Another one may be faster.
        begin = ({"_id": key, "expires": {"$lte": now}}, {"_id": key, "members": [member], **times})
        while True:
            joined = yield from self._collection.made(
                self._collection.call("find_update", filter={"_id": key, "expires": {"$gt": now}}, update=arrive)
            )
            if joined is not None:
                return len(joined["members"]) >= size
            yield from self.documents.prepare()
            (refused,) = yield from self._collection.made(self._collection.call("replace", replacements=[begin]))
            if refused is None:
                return size == 1
            if refused[0] != _DUPLICATE:
                self._collection.errors.check(self._collection.refusal(refused))

    def _save(self, records: Sequence[Record], objects: Sequence[StoredObject]) -> Flow[list[bool | Exception]]:
        """Write records, each by one filtered replacement."""
        if not records:
            return []
        now = self._clock()
        yield from self.documents.prepare()
        outcomes: dict[int, bool | Exception] = {}
        left: Sequence[int] = range(len(records))
        for _ in range(_ATTEMPTS):
            parts = [left[start : start + _TOGETHER] for start in range(0, len(left), _TOGETHER)]
            calls = [self._filtered([records[number] for number in part], now) for part in parts]
            for part, call, answer in zip(parts, calls, (yield Gather(calls)), strict=True):
                failed = isinstance(answer, CallError)
                each = [answer] * len(part) if failed else self._collection.outcomes(call, answer)
                outcomes |= dict(zip(part, map(self._outcome, each), strict=True))
            left = [number for number in left if outcomes[number] is False]
            if not left:
                break
        return [outcomes[number] for number in range(len(records))]

    def _filtered(self, records: Sequence[Record], now: float) -> Call:
        replacements = [(documents.replaceable(each, now), documents.document_of(each)) for each in records]
        return self._collection.call("replace", replacements=replacements)

    def _outcome(self, answer: CallError | None) -> bool | Exception:
        if answer is None or self._collection.errors.kind(answer) is FailureKind.CONDITION_FAILED:
            return answer is None
        return self._collection.errors.error(answer)

    def _key(self, task_id: str) -> str:
        return task_id


class _Collection:
    reads_together = 1_000
    writes_together = 1_000
    deletes_versions = False
    created_early = True  # the server makes the collection by itself, without the index

    def __init__(self, server: str, database: str, name: str) -> None:
        self.service = f"mongodb:{server}"
        self._place = {"database": database, "collection": name}
        self.errors = StoreErrors(
            f"MongoDB collection {database}.{name} ({server})", "the server creates it", _KINDS, _NEEDS
        )

    def creation(self) -> Sequence[Call]:
        keys = [("expires_at", 1)]
        return [self.call("create_index", keys=keys, name="taskq_expires", expireAfterSeconds=0)]

    def find(self, ids: Sequence[str]) -> Call:
        return self.call("find", filter={"_id": {"$in": list(dict.fromkeys(ids))}})

    def get(self, keys: Sequence[str]) -> Call:
        return self.find(keys)

    def found(self, keys: Sequence[str], answer: Any) -> Mapping[str, StoredObject]:
        return {each["_id"]: StoredObject(each["value"].encode(), {}, each["tag"]) for each in answer}

    def put(self, writes: Sequence[Write]) -> Call:
        return self.call("replace", replacements=[_replacement(each) for each in writes])

    def outcomes(self, call: Call, answer: Any) -> Sequence[Any]:
        if call.operation == "delete":
            return [None] * len(call.parameters["filter"]["_id"]["$in"])
        return [None if each is None else self.refusal(each) for each in answer]

    def delete(self, found: Mapping[str, StoredObject | None]) -> Call:
        return self.call("delete", filter={"_id": {"$in": list(found)}})

    def call(self, operation: str, **parameters: Any) -> Call:
        return Call(self.service, operation, {**self._place, **parameters})

    def made(self, call: Call) -> Flow[Any]:
        """Make a call, and return its answer."""
        (answer,) = yield Gather([call])
        return self.errors.check(answer)

    def refusal(self, refusal: tuple[str, str]) -> CallError:
        """The error of one replacement of several."""
        return CallError(self.call("replace"), *refusal, Trouble.REFUSED)


def _replacement(write: Write) -> tuple[dict[str, Any], dict[str, Any]]:
    document: dict[str, Any] = {"_id": write.key, "value": write.new.body.decode(), "tag": token_hex(8)}
    if write.new.expires_at is not None:
        document["expires_at"] = documents.date_of(write.new.expires_at)
    # A document without a tag is never found, so that one which exists is refused as a duplicate.
    return {"_id": write.key, "tag": None if write.over is None else write.over.tag}, document
