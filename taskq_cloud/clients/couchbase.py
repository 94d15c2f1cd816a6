"""The client of Couchbase, by its Python SDK: four operations on the default collection of one bucket.

===========  ==========================  =========================================================
operation    parameters                  answer
===========  ==========================  =========================================================
``get``      keys                        key -> the value and its CAS, for the keys that exist
``insert``   key, value, seconds         (nothing)
``replace``  key, value, seconds, cas    (nothing): the document whose CAS is named is written over
``remove``   key                         (nothing)
===========  ==========================  =========================================================

A value is bytes of JSON, and ``seconds`` is its time to live; None: it doesn't expire.

The first call connects. The SDK itself sends a request again where the server can't have carried it out, such as while
a bucket moves between nodes, and can't be told not to; the timeout of a call covers that, too.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from taskq_cloud.clients.base import SDK, AsyncSDKClient, Operation, SDKClient, shortest
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import ImproperlyConfigured, MissingExtra

try:
    from acouchbase.cluster import AsyncCluster
    from couchbase import exceptions as sdk
    from couchbase import options as given
    from couchbase.auth import PasswordAuthenticator
    from couchbase.cluster import Cluster
    from couchbase.durability import DurabilityLevel, ServerDurability
except ImportError as error:
    raise MissingExtra("Couchbase", "couchbase") from error

CONNECT_TIMEOUT_SECONDS: Final = 5.0
ANSWER_TIMEOUT_SECONDS: Final = 5.0

TOO_LARGE: Final = "ValueTooLarge"

_JSON: Final = 0x02000006
"""The flags of a document in JSON, as all SDKs write them."""
_TOO_LARGE_CODE: Final = 104
_TRANSIENT: Final = (
    sdk.AmbiguousTimeoutException,
    sdk.UnAmbiguousTimeoutException,
    sdk.TimeoutException,
    sdk.RequestCanceledException,
    sdk.TemporaryFailException,
    sdk.ServiceUnavailableException,
    sdk.InternalServerFailureException,
    # Another program has locked the document, for half a minute at most.
    sdk.DocumentLockedException,
    sdk.DurabilityImpossibleException,
    sdk.DurabilitySyncWriteAmbiguousException,
    sdk.DurabilitySyncWriteInProgressException,
)


class _Bytes:
    """Hands over values as they are."""

    @staticmethod
    def encode_value(value: bytes) -> tuple[bytes, int]:
        return value, _JSON

    @staticmethod
    def decode_value(value: bytes, flags: int) -> bytes:  # noqa: ARG004 - the interface of the SDK
        return value


def open_client(service: str, options: Mapping[str, Any]) -> CouchbaseClient:
    """Make a client of a bucket; the first call connects.

    Args:
        service: the service's name, for errors.
        options: ``url``: the address in the form of the SDK's connection strings, without a user; ``bucket``; ``user``
            and ``password``; ``ca_file``: the file of the authorities that are trusted; ``verify``: whether the
            server's certificate is verified; ``durability``: where a write has to be before it is answered.

    Raises:
        ImproperlyConfigured: the address or an option can't be read.
    """
    return CouchbaseClient(_Bucket(service, options))


async def open_async_client(service: str, options: Mapping[str, Any]) -> AsyncCouchbaseClient:
    """Make a client of a bucket for an event loop; see ``open_client``."""
    bucket = _AsyncBucket(service, options)
    return AsyncCouchbaseClient(bucket, bucket.close)


class _Settings:
    """How to connect to a bucket, and how to write.

    Args:
        service: the service's name, for errors.
        options: see ``open_client``.
    """

    def __init__(self, service: str, options: Mapping[str, Any]) -> None:
        self.url, self.name = options["url"], options["bucket"]
        if not options["user"]:
            raise ImproperlyConfigured(
                f"{service}: Couchbase serves nobody without a name: write couchbase://user:password@host/bucket"
            )
        connect = timedelta(seconds=shortest(CONNECT_TIMEOUT_SECONDS, options, parts=2))
        answer = timedelta(seconds=shortest(ANSWER_TIMEOUT_SECONDS, options, parts=2))
        times = {"bootstrap_timeout": connect, "connect_timeout": connect, "resolve_timeout": connect}
        more: dict[str, Any] = {} if options.get("verify", True) else {"tls_verify": "no_verify"}
        try:
            self.options = given.ClusterOptions(
                PasswordAuthenticator(options["user"], options["password"], options.get("ca_file") or None),
                timeout_options=given.ClusterTimeoutOptions(kv_timeout=answer, kv_durable_timeout=answer, **times),
                transcoder=_Bytes(),
                enable_tracing=False,
                enable_metrics=False,
                **more,
            )
            durability = options.get("durability")
            level = {"durability": ServerDurability(_LEVELS[durability])} if durability else {}
        except (sdk.CouchbaseException, ValueError) as error:
            raise ImproperlyConfigured(f"{service}: an option can't be read: {error}") from error
        self._level = level

    def insert(self, seconds: int | None) -> Any:
        """The options of an insertion."""
        return given.InsertOptions(**self._level, **_expiry(seconds))

    def replace(self, cas: str, seconds: int | None) -> Any:
        """The options of a replacement. Without an expiry, the document doesn't expire any more."""
        return given.ReplaceOptions(cas=int(cas), **self._level, **_expiry(seconds))

    def remove(self) -> Any:
        """The options of a removal."""
        return given.RemoveOptions(**self._level)


_LEVELS: Final = {
    "majority": DurabilityLevel.MAJORITY,
    "majority_and_persist": DurabilityLevel.MAJORITY_AND_PERSIST_TO_ACTIVE,
    "persist_to_majority": DurabilityLevel.PERSIST_TO_MAJORITY,
}


def _expiry(seconds: int | None) -> dict[str, timedelta]:
    # The server reads more than 30 days as a time since the epoch; the SDK makes one of a longer period.
    return {} if seconds is None else {"expiry": timedelta(seconds=seconds)}


class _Bucket:
    """A bucket, with the connections that the first call makes.

    Args:
        service: the service's name, for errors.
        options: see ``open_client``.
    """

    def __init__(self, service: str, options: Mapping[str, Any]) -> None:
        self.settings = _Settings(service, options)
        self._lock = threading.Lock()
        self._cluster: Any = None
        self._collection: Any = None

    def collection(self) -> Any:
        """The collection; threads wait for the one that connects."""
        with self._lock:
            if self._collection is None:
                cluster = Cluster(self.settings.url, self.settings.options)
                try:
                    self._collection = cluster.bucket(self.settings.name).default_collection()
                except BaseException:
                    cluster.close()
                    raise
                self._cluster = cluster
            return self._collection

    def get(self, collection: Any, keys: Sequence[str]) -> list[Any]:
        """For each key its document, or the exception."""
        made = collection.get_multi(list(keys), given.GetMultiOptions(return_exceptions=True))
        return [made.exceptions[key] if key in made.exceptions else made.results[key] for key in keys]

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            cluster, self._cluster, self._collection = self._cluster, None, None
        if cluster is not None:
            cluster.close()


class _AsyncBucket:
    """A bucket for an event loop: see ``_Bucket``."""

    def __init__(self, service: str, options: Mapping[str, Any]) -> None:
        self.settings = _Settings(service, options)
        self._lock = asyncio.Lock()
        self._cluster: Any = None
        self._collection: Any = None

    async def collection(self) -> Any:
        """The collection; other calls wait for the one that connects."""
        async with self._lock:
            if self._collection is None:
                cluster = AsyncCluster(self.settings.url, self.settings.options)
                try:
                    await cluster.on_connect()
                    bucket = cluster.bucket(self.settings.name)
                    await bucket.on_connect()
                except BaseException:
                    await cluster.close()
                    raise
                self._cluster, self._collection = cluster, bucket.default_collection()
            return self._collection

    async def get(self, collection: Any, keys: Sequence[str]) -> list[Any]:
        """For each key its document, or the exception."""
        return await asyncio.gather(*(collection.get(key) for key in keys), return_exceptions=True)

    async def close(self) -> None:
        """Close the connections."""
        cluster, self._cluster, self._collection = self._cluster, None, None
        if cluster is not None:
            await cluster.close()


def _operation(bucket: Any, call: Call) -> Operation:
    parameters = call.parameters
    collection = yield bucket.collection()
    match call.operation:
        case "get":
            keys = parameters["keys"]
            return _found(dict(zip(keys, (yield bucket.get(collection, keys)), strict=True)))
        case "insert":
            options = bucket.settings.insert(parameters["seconds"])
            yield collection.insert(parameters["key"], parameters["value"], options)
            return None
        case "replace":
            options = bucket.settings.replace(parameters["cas"], parameters["seconds"])
            yield collection.replace(parameters["key"], parameters["value"], options)
            return None
        case "remove":
            yield collection.remove(parameters["key"], bucket.settings.remove())
            return None
    raise CallError(call, "UnknownOperation", "this module has no such operation", Trouble.REFUSED)


def _found(answers: Mapping[str, Any]) -> dict[str, tuple[bytes, str]]:
    found: dict[str, tuple[bytes, str]] = {}
    for key, each in answers.items():
        if isinstance(each, sdk.DocumentNotFoundException):
            continue
        if isinstance(each, BaseException):
            raise each
        found[key] = (each.value, str(each.cas))
    return found


def _call_error(call: Call, error: sdk.CouchbaseException) -> CallError:
    code = type(error).__name__.removesuffix("Exception")
    if error.error_code == _TOO_LARGE_CODE:
        code = TOO_LARGE
    # The SDK's own text has addresses of its sources and the whole context.
    status = getattr(error.error_context, "status_code", None)
    said = (error.message or "the operation failed") + (f" (status 0x{status:02x})" if status else "")
    if isinstance(error, sdk.RateLimitedException):
        return CallError(call, code, said, Trouble.THROTTLED)
    return CallError(call, code, said, Trouble.TRANSIENT if isinstance(error, _TRANSIENT) else Trouble.REFUSED)


_COUCHBASE: Final = SDK(operation=_operation, failures=(sdk.CouchbaseException,), call_error=_call_error)


class CouchbaseClient(SDKClient):
    """A client of one bucket. Threads may share it."""

    sdk = _COUCHBASE


class AsyncCouchbaseClient(AsyncSDKClient):
    """A client of one bucket, used on the event loop that opened it."""

    sdk = _COUCHBASE
