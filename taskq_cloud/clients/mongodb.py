"""The client of MongoDB, by pymongo: five operations on one collection.

================  ==========================================  ========================================================
operation         parameters                                  answer
================  ==========================================  ========================================================
``find``          filter                                      the documents
``replace``       replacements: ``[(filter, document)]``      for each, None: written; else an error's code and text
``find_update``   filter, update                              the document as it is after the update; None: not found
``delete``        filter                                      how many were removed
``create_index``  keys, and the index's own options           its name
================  ==========================================  ========================================================

A replacement writes over the document that the filter finds. If it finds none, the document is inserted, which fails
with the code 11000 if one with its ``_id`` exists.

Each operation also has ``database`` and ``collection``. The driver's own retries are off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.clients.base import SDK, AsyncSDKClient, Operation, SDKClient, shortest
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.core.urls import without_secrets
from taskq_cloud.errors import ImproperlyConfigured, MissingExtra

try:
    import pymongo
    from bson.errors import BSONError
    from pymongo import errors as sdk
except ImportError as error:
    raise MissingExtra("MongoDB", "mongodb") from error

CONNECT_TIMEOUT_SECONDS: Final = 5.0
ANSWER_TIMEOUT_SECONDS: Final = 10.0

TOO_LARGE: Final = "DocumentTooLarge"

_THROTTLED: Final = frozenset({16500})
"""The error of Cosmos DB's interface for MongoDB to too many requests."""
_TRANSIENT: Final = frozenset({6, 7, 50, 64, 89, 91, 112, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436})
"""Codes of a server that is not the primary, is stepping down or was too slow (MongoDB's "Error codes")."""
_SIZES: Final = frozenset({10334, 17280, 17420})


def open_client(service: str, options: Mapping[str, Any]) -> MongoDBClient:
    """Open a client of a server, a replica set or a sharded cluster.

    Args:
        service: the service's name, for errors.
        options: ``url``.

    Raises:
        ImproperlyConfigured: the URL or an option can't be read.
    """
    return MongoDBClient(_opened(service, options, pymongo.MongoClient))


async def open_async_client(service: str, options: Mapping[str, Any]) -> AsyncMongoDBClient:
    """Open a client for an event loop; see ``open_client``."""
    client = _opened(service, options, pymongo.AsyncMongoClient)
    return AsyncMongoDBClient(client, client.close)


def _opened(service: str, options: Mapping[str, Any], kind: Any) -> Any:
    connect_ms = int(shortest(CONNECT_TIMEOUT_SECONDS, options, parts=2) * 1000)
    fixed = {
        "serverSelectionTimeoutMS": connect_ms,
        "connectTimeoutMS": connect_ms,
        "socketTimeoutMS": int(shortest(ANSWER_TIMEOUT_SECONDS, options, parts=2) * 1000),
        "retryWrites": False,
        "retryReads": False,
        "tz_aware": True,
    }
    try:
        return kind(options["url"], **fixed)
    except (sdk.PyMongoError, ValueError, TypeError) as error:
        said = without_secrets(str(error))
    # The driver's error, whose text may contain the URL, is not the context of this one.
    raise ImproperlyConfigured(f"{service}: the URL can't be read: {said}")


def _operation(client: Any, call: Call) -> Operation:
    given = dict(call.parameters)
    collection = client[given.pop("database")][given.pop("collection")]
    match call.operation:
        case "find":
            cursor = collection.find(given["filter"])
            return (yield cursor.to_list())
        case "replace":
            return (yield from _replace(collection, call))
        case "find_update":
            after = pymongo.ReturnDocument.AFTER
            return (yield collection.find_one_and_update(given["filter"], given["update"], return_document=after))
        case "delete":
            return (yield collection.delete_many(given["filter"])).deleted_count
        case "create_index":
            return (yield collection.create_index(given.pop("keys"), **given))
    raise CallError(call, "UnknownOperation", "this module has no such operation", Trouble.REFUSED)


def _replace(collection: Any, call: Call) -> Operation:
    replacements = call.parameters["replacements"]
    operations = [pymongo.ReplaceOne(which, document, upsert=True) for which, document in replacements]
    outcomes: list[tuple[str, str] | None] = [None] * len(replacements)
    try:
        yield collection.bulk_write(operations, ordered=False)
    except sdk.BulkWriteError as error:
        details: Any = error.details or {}
        for each in details.get("writeErrors", ()):
            outcomes[each["index"]] = (str(each["code"]), str(each.get("errmsg") or ""))
        concern = next(iter(details.get("writeConcernErrors", ())), None)
        if concern is not None:  # the writes may be undone
            raise CallError(call, str(concern.get("code")), str(concern.get("errmsg")), Trouble.TRANSIENT) from error
    return outcomes


def _call_error(call: Call, error: Exception) -> CallError:
    name, said = type(error).__name__, without_secrets(str(error))
    if isinstance(error, sdk.DocumentTooLarge):
        return CallError(call, TOO_LARGE, said, Trouble.REFUSED)
    if isinstance(error, sdk.OperationFailure):
        code = error.code or 0
        if code in _THROTTLED:
            trouble = Trouble.THROTTLED
        elif code in _TRANSIENT or error.has_error_label("RetryableWriteError"):
            trouble = Trouble.TRANSIENT
        else:
            trouble = Trouble.REFUSED
        message = str((error.details or {}).get("errmsg") or said)
        return CallError(call, TOO_LARGE if code in _SIZES else str(code), message, trouble)
    if isinstance(error, sdk.ConnectionFailure | sdk.WaitQueueTimeoutError | sdk.ExecutionTimeout):
        return CallError(call, name, said.partition(", Timeout:")[0], Trouble.TRANSIENT)
    return CallError(call, name, said, Trouble.REFUSED)


_PYMONGO: Final = SDK(
    operation=_operation, failures=(sdk.PyMongoError, BSONError, OverflowError), call_error=_call_error
)


class MongoDBClient(SDKClient):
    """A client of one deployment. Threads may share it."""

    sdk = _PYMONGO


class AsyncMongoDBClient(AsyncSDKClient):
    """A client of one deployment, used on the event loop that opened it."""

    sdk = _PYMONGO
