"""The clients of document databases: an exception that is raised into a call comes out, and a call ends in its time."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from azure.cosmos.exceptions import CosmosHttpResponseError
from pymongo.errors import DocumentTooLarge, OperationFailure, ServerSelectionTimeoutError

from taskq_cloud.clients import cosmosdb, mongodb
from taskq_cloud.clients.async_connections import AsyncConnections
from taskq_cloud.clients.base import with_longest_call
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.flows import Call, Trouble
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.servers.http import HTTPServer
from taskq_cloud.errors import Unreachable
from taskq_cloud.stores.results.couchdb import CouchDBResults
from taskq_cloud.stores.results.registry import store_from_url

pytestmark = pytest.mark.slow

STORES = ["couchdb", "mongodb", "cosmosdbsql"]


class Overdue(Exception):
    """An exception of an application's own, by which its alarm ends a task."""


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def store_at(scheme: str, address: str) -> ResultStore:
    login = ":a2V5@" if scheme == "cosmosdbsql" else ""
    return store_from_url(f"{scheme}://{login}{address}", {})


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    def ring(number: int, frame: object) -> None:
        raise Overdue

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("scheme", STORES)
def test_exception_of_an_alarm_during_a_call_comes_out_as_itself(silent: str, scheme: str) -> None:
    store = store_at(scheme, silent)
    connections = Connections(with_longest_call(store.services, 60))
    try:
        with alarm(0.5), pytest.raises(Overdue):
            connections.run(store.load(["a"]))
    finally:
        connections.close()


# The SDK of Cosmos DB asks for the account's regions up to four times, whatever the timeouts are.
@pytest.mark.parametrize("scheme", ["couchdb", "mongodb"])
def test_call_ends_after_the_longest_time_for_calls(silent: str, scheme: str) -> None:
    store = store_at(scheme, silent)
    connections = Connections(with_longest_call(store.services, 0.5))
    try:
        for _ in range(2):  # the first call imports an SDK, too
            began = time.monotonic()
            with pytest.raises(Unreachable):
                connections.run(store.load(["a"]), longest_seconds=0.5)
    finally:
        connections.close()
    assert time.monotonic() - began < 3


def refused_by_cosmos(status: int, message: str) -> Exception:
    error: Any = CosmosHttpResponseError
    refusal: Exception = error(status, message)
    return refusal


REFUSALS = {
    "wrong password": (mongodb, OperationFailure("Authentication failed.", 18), "18", Trouble.REFUSED),
    "no permission": (mongodb, OperationFailure("not authorized on shop", 13), "13", Trouble.REFUSED),
    "primary steps down": (mongodb, OperationFailure("not primary", 10107), "10107", Trouble.TRANSIENT),
    "retryable": (
        mongodb,
        OperationFailure("shard moved", 1, {"errorLabels": ["RetryableWriteError"]}),
        "1",
        Trouble.TRANSIENT,
    ),
    "too many requests": (mongodb, OperationFailure("TooManyRequests", 16500), "16500", Trouble.THROTTLED),
    "too large": (mongodb, DocumentTooLarge("BSON document too large"), "DocumentTooLarge", Trouble.REFUSED),
    "no server": (mongodb, ServerSelectionTimeoutError("refused"), "ServerSelectionTimeoutError", Trouble.TRANSIENT),
    "Cosmos DB throttles": (cosmosdb, refused_by_cosmos(429, "rate"), "HTTP 429", Trouble.THROTTLED),
    "Cosmos DB is busy": (cosmosdb, refused_by_cosmos(449, "retry with"), "HTTP 449", Trouble.TRANSIENT),
    "Cosmos DB's key is wrong": (cosmosdb, refused_by_cosmos(401, "signature"), "HTTP 401", Trouble.REFUSED),
    "Cosmos DB's item is too large": (cosmosdb, refused_by_cosmos(413, "large"), "HTTP 413", Trouble.REFUSED),
}


@pytest.mark.parametrize(("module", "error", "code", "trouble"), REFUSALS.values(), ids=REFUSALS)
def test_refusal_has_the_servers_code_and_its_trouble(
    module: Any, error: Exception, code: str, trouble: Trouble
) -> None:
    failure = module._call_error(Call("store", "read_item"), error)
    assert (failure.code, failure.trouble) == (code, trouble)


async def test_exception_raised_into_a_coroutine_comes_out_as_itself(silent: str) -> None:
    store = CouchDBResults(HTTPServer(f"http://{silent}"))
    connections = AsyncConnections(store.services)
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await connections.run(store.load(["a"]))
    finally:
        await connections.close()
