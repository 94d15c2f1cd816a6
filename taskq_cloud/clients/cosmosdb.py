"""The client of Azure Cosmos DB for NoSQL, by azure-cosmos and its ``aio``: six operations on one account.

=====================  ==============================  ===========================================================
operation              parameters                      answer
=====================  ==============================  ===========================================================
``read_item``          id                              the item
``create_item``        item                            (nothing)
``replace_item``       item, etag                      (nothing)
``delete_item``        id                              (nothing)
``create_database``    (nothing)                       (nothing)
``create_container``   (nothing)                       (nothing)
=====================  ==============================  ===========================================================

Each operation also has ``database`` and ``container``, whose partition key is ``/id``. The options name the account's
endpoint and its key. Without a key, azure-identity finds an identity.

The SDK's own retries are off, but for one: it asks for the account's regions when a client is made, up to four times.
So the first call makes it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from taskq_cloud.clients.base import SDK, AsyncSDKClient, Operation, SDKClient, shortest
from taskq_cloud.clients.credential_files import reading_credentials
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import MissingExtra

if TYPE_CHECKING:
    from taskq_cloud.core.servers.http import CosmosAccount

try:
    from azure.core import MatchConditions
    from azure.core import exceptions as sdk
    from azure.cosmos import PartitionKey
    from azure.cosmos import exceptions as cosmos
    from azure.cosmos._retry_options import RetryOptions
    from azure.cosmos.documents import ConnectionPolicy
except ImportError as error:
    raise MissingExtra("Cosmos DB", "cosmosdb") from error

CONNECT_TIMEOUT_SECONDS: Final = 5.0
ANSWER_TIMEOUT_SECONDS: Final = 5.0

CONTAINER_NOT_FOUND: Final = "ContainerNotFound"
"""Our own code for the status 404 where it can't mean the item."""
_NO_OWNER: Final = 1003
"""The sub-status of a 404 whose container or database is missing."""
_TRANSIENT: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.GONE, 449})
"""The statuses below 500 of a partition that is moving or busy; 449 is Retry With."""

_SOURCES: Final = "the variables that begin with AZURE_ and the files that they name"
_FOREVER: Final = -1
"""The time to live of a container whose items may have one."""
_TOKEN: Final = re.compile(r"(sig(?:nature)?=)[^&\s'\"]+", re.IGNORECASE)
_SHOWN_CHARACTERS: Final = 300


def open_client(service: str, options: Mapping[str, Any]) -> CosmosDBClient:
    """Make the client of one account; the first call connects.

    Args:
        service: the service's name, for errors.
        options: ``account``, a ``core.servers.http.CosmosAccount``.
    """
    from azure.cosmos import CosmosClient  # an event loop needs the class of azure.cosmos.aio instead

    return CosmosDBClient(_Account(lambda: CosmosClient(**_settings(service, options, _credential))))


async def open_async_client(service: str, options: Mapping[str, Any]) -> AsyncCosmosDBClient:
    """Make the client of one account for an event loop; see ``open_client``."""
    try:
        from azure.cosmos.aio import CosmosClient  # synchronous callers don't need aiohttp
    except ImportError as error:
        raise MissingExtra("Cosmos DB on an event loop", "cosmosdb") from error

    account = _AsyncAccount(lambda: CosmosClient(**_settings(service, options, _async_credential)))
    return AsyncCosmosDBClient(account, account.close)


def _settings(service: str, options: Mapping[str, Any], credential: Callable[[], Any]) -> dict[str, Any]:
    account: CosmosAccount = options["account"]
    with reading_credentials(service, _SOURCES):
        known = account.key or credential()
    policy: Any = ConnectionPolicy()
    policy.RetryOptions = RetryOptions(max_retry_attempt_count=0)  # retry_total=0 would mean the SDK's default here
    connect_seconds = shortest(CONNECT_TIMEOUT_SECONDS, options, parts=2)
    answer_seconds = shortest(ANSWER_TIMEOUT_SECONDS, options, parts=2)
    # The request for the account's regions, and the one after a failure, have timeouts of their own.
    policy.DBAConnectionTimeout, policy.DBAReadTimeout = connect_seconds, answer_seconds
    policy.RecoveryReadTimeout = answer_seconds
    return {
        "url": account.endpoint,
        "credential": known,
        "connection_policy": policy,
        "retry_total": 0,
        "connection_timeout": connect_seconds,
        "read_timeout": answer_seconds,
        "enable_endpoint_discovery": account.discovery,
        "no_response_on_write": True,
    }


def _credential() -> Any:
    try:
        from azure.identity import DefaultAzureCredential  # an account with a key needs none
    except ImportError as error:
        raise MissingExtra("Cosmos DB without a key", "azure") from error
    return DefaultAzureCredential()


def _async_credential() -> Any:
    try:
        from azure.identity.aio import DefaultAzureCredential  # an account with a key needs none
    except ImportError as error:
        raise MissingExtra("Cosmos DB without a key", "azure") from error
    return DefaultAzureCredential()


class _Account:
    """Makes the SDK's client at the first call, as making it is a request."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._client: Any = None

    def client(self) -> Any:
        """The SDK's client."""
        with self._lock:
            if self._client is None:
                self._client = self._make()
            return self._client

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.__exit__(None, None, None)


class _AsyncAccount:
    """Makes the SDK's client at the first call, on the event loop of the call."""

    def __init__(self, make: Callable[[], Any]) -> None:
        from asyncio import Lock  # synchronous callers have no loop

        self._make = make
        self._lock = Lock()
        self._client: Any = None

    async def client(self) -> Any:
        """The SDK's client."""
        async with self._lock:
            if self._client is None:
                client = self._make()
                try:
                    await client.__aenter__()
                except BaseException:
                    await client.close()
                    raise
                self._client = client
            return self._client

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()


def _operation(account: Any, call: Call) -> Operation:
    client = yield account.client()
    given = call.parameters
    database = client.get_database_client(given["database"])
    container = database.get_container_client(given["container"])
    match call.operation:
        case "read_item":
            return dict((yield container.read_item(given["id"], partition_key=given["id"])))
        case "create_item":
            yield container.create_item(given["item"])
            return None
        case "replace_item":
            condition = {"etag": given["etag"], "match_condition": MatchConditions.IfNotModified}
            yield container.replace_item(given["item"]["id"], given["item"], **condition)
            return None
        case "delete_item":
            yield container.delete_item(given["id"], partition_key=given["id"])
            return None
        case "create_container":
            yield database.create_container(given["container"], partition_key=PartitionKey("/id"), default_ttl=_FOREVER)
            return None
        case "create_database":
            yield client.create_database(given["database"])
            return None
    raise CallError(call, "UnknownOperation", "this module has no such operation", Trouble.REFUSED)


def _call_error(call: Call, error: sdk.AzureError) -> CallError:
    name = type(error).__name__
    said = _TOKEN.sub(r"\1***", str(error.message)).strip()
    message = " ".join(said.split())[:_SHOWN_CHARACTERS]
    if isinstance(error, sdk.HttpResponseError) and error.status_code:
        status = error.status_code
        code = f"HTTP {status}"
        missing = status == HTTPStatus.NOT_FOUND
        if missing and (call.operation == "create_item" or getattr(error, "sub_status", None) == _NO_OWNER):
            code = CONTAINER_NOT_FOUND
        return CallError(call, code, message, _trouble(status))
    if isinstance(error, sdk.ClientAuthenticationError):
        return CallError(call, name, message, Trouble.CREDENTIALS)
    lost = isinstance(error, sdk.ServiceRequestError | sdk.ServiceResponseError | cosmos.CosmosClientTimeoutError)
    return CallError(call, name, message, Trouble.TRANSIENT if lost else Trouble.REFUSED)


def _trouble(status: int) -> Trouble:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Trouble.THROTTLED
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT:
        return Trouble.TRANSIENT
    return Trouble.REFUSED


_COSMOS: Final = SDK(operation=_operation, failures=(sdk.AzureError,), call_error=_call_error, chain_errors=False)


class CosmosDBClient(SDKClient):
    """A client of one account. Threads may share it."""

    sdk = _COSMOS


class AsyncCosmosDBClient(AsyncSDKClient):
    """A client of one account, used on the event loop that opened it."""

    sdk = _COSMOS
