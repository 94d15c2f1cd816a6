"""Stores results in a container of Azure Cosmos DB for NoSQL, as Celery's backend ``cosmosdbsql`` does.

An item's id is ``celery-task-meta-<task id>``, and its ``value`` is the result document as a text; ``taskq`` has our
metadata, and ``ttl`` the seconds after which the service removes it, if the container's time to live is on. A new item
is created, which fails if there is one, and another one replaced on the condition of its ETag (Azure's "Transactions
and optimistic concurrency control"). Each item is a partition, so each takes a request of its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult, unquote

from taskq_cloud.core.flows import Call
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.ports import Service
from taskq_cloud.core.servers.http import CosmosAccount, switch
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.buckets import FailureKind, StoredObject, StoreErrors, Write
from taskq_cloud.stores.results._conditional_results import quoted
from taskq_cloud.stores.results._documents import FIELDS, RESERVATIONS_PER_SECOND, DocumentResults, fields_of, object_of

LARGEST_RECORD_BYTES: Final = 1_900_000
"""The largest payload of one record: an item has at most 2 MB as JSON (Azure's "Service quotas")."""

DEFAULT_DATABASE: Final = "celerydb"
DEFAULT_CONTAINER: Final = "celerycol"

_HTTPS_PORT: Final = 443
_LONGEST_TTL: Final = 2**31 - 1
_SAFE: Final = "a slash in the key must be written as %2F"

_KINDS: Final = {
    "HTTP 401": FailureKind.ACCESS_DENIED,
    "HTTP 403": FailureKind.ACCESS_DENIED,
    "HTTP 404": FailureKind.NOT_FOUND,
    "HTTP 409": FailureKind.CONDITION_FAILED,
    "HTTP 412": FailureKind.CONDITION_FAILED,
    "HTTP 413": FailureKind.TOO_LARGE_TO_WRITE,
    "ContainerNotFound": FailureKind.STORE_NOT_FOUND,
}
_ITEMS: Final = "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items"
_NEEDS: Final = {
    "read_item": f"{_ITEMS}/read",
    "create_item": f"{_ITEMS}/create",
    "replace_item": f"{_ITEMS}/replace",
    "delete_item": f"{_ITEMS}/delete",
    "create_database": "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/write",
    "create_container": "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/write",
}


class CosmosDBResults(DocumentResults):
    """The store behind ``cosmosdbsql://:key@ACCOUNT.documents.azure.com/database/container``.

    Args:
        account: the account.
        database: the database.
        container: the container, whose partition key is ``/id``.
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
        account: CosmosAccount,
        database: str = DEFAULT_DATABASE,
        container: str = DEFAULT_CONTAINER,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._account = account
        super().__init__(_Container(account.endpoint, database, container, clock), clock=clock)

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> CosmosDBResults:
        """Make the store for ``cosmosdbsql://:key@ACCOUNT.documents.azure.com/database/container``.

        Args:
            url: the URL; a port other than 443 means HTTP, as in Celery. Takes the option ``discovery``.
            options: not used.

        Raises:
            ImproperlyConfigured: the URL has an unknown option or no account, or its path isn't a database and a
                container.
        """
        query = query_of(url, ("discovery",))
        names = [unquote(part) for part in url.path.strip("/").split("/") if part]
        try:
            host, port = url.hostname, url.port or _HTTPS_PORT
        except ValueError:
            host, port = None, 0
        if not host or names[2:]:
            raise ImproperlyConfigured(
                f"{shown(url)} doesn't name an account: write "
                f"cosmosdbsql://:KEY@ACCOUNT.documents.azure.com/database/container; {_SAFE}"
            )
        scheme = "https" if port == _HTTPS_PORT else "http"
        account = CosmosAccount(
            f"{scheme}://{host}:{port}",
            unquote(url.password or ""),
            switch(url, query, "discovery", default=True),
        )
        database, container = [*names, *[DEFAULT_DATABASE, DEFAULT_CONTAINER][len(names) :]]
        return cls(account, database, container)

    @property
    def services(self) -> Mapping[str, Service]:
        """The client of the account."""
        account = self._account
        options = (("account", account),)
        return {f"cosmosdb:{account.endpoint}": Service("cosmosdb", options)}

    def _encoded(self, name: str) -> str:
        return quoted(name)


class _Container:
    reads_together = 1
    writes_together = 1
    deletes_versions = False
    created_early = False

    def __init__(self, endpoint: str, database: str, name: str, clock: Callable[[], float]) -> None:
        self._service = f"cosmosdb:{endpoint}"
        self._place = {"database": database, "container": name}
        self._clock = clock
        create = f"az cosmosdb sql container create --database-name {database} --name {name}"
        self.errors = StoreErrors(
            f"Cosmos DB container {database}/{name} ({endpoint})",
            f"{create} --partition-key-path /id --ttl -1 --account-name ACCOUNT --resource-group GROUP",
            _KINDS,
            _NEEDS,
        )

    def creation(self) -> Sequence[Call]:
        return [self._call("create_database"), self._call("create_container")]

    def get(self, keys: Sequence[str]) -> Call:
        return self._call("read_item", id=keys[0])

    def found(self, keys: Sequence[str], answer: Any) -> Mapping[str, StoredObject]:
        return {keys[0]: object_of(answer["value"], answer.get(FIELDS), answer["_etag"])}

    def put(self, writes: Sequence[Write]) -> Call:
        (write,) = writes
        item = self._item(write)
        if write.over is None:
            return self._call("create_item", item=item)
        return self._call("replace_item", item=item, etag=write.over.tag)

    def delete(self, found: Mapping[str, StoredObject | None]) -> Call:
        (key,) = found
        return self._call("delete_item", id=key)

    def outcomes(self, call: Call, answer: Any) -> Sequence[Any]:
        return [None]

    def _item(self, write: Write) -> dict[str, Any]:
        item: dict[str, Any] = {"id": write.key, "value": write.new.body.decode(), FIELDS: fields_of(write.new)}
        if write.new.expires_at is not None:
            # The service counts from the write, and takes no time to live of 0.
            lives_seconds = math.ceil(write.new.expires_at - self._clock())
            item["ttl"] = min(max(lives_seconds, 1), _LONGEST_TTL)
        return item

    def _call(self, operation: str, **parameters: Any) -> Call:
        return Call(self._service, operation, {**self._place, **parameters})
