"""The client of memcached, by pymemcache: four operations on one or more servers.

==========  ===========================  =====================================================================
operation   parameters                   answer
==========  ===========================  =====================================================================
``gets``    keys                         key -> the value and its version, for the keys that have a value
``store``   key, value, expiry, cas      whether it was written: over the version ``cas``, or with None as the first
``append``  key, value, expiry           the whole value, to which this one was appended
``delete``  key                          (nothing)
==========  ===========================  =====================================================================

Each key is on one server, which is chosen as pymemcache's ``HashClient`` chooses it, as Celery uses that. A server that
doesn't answer is not passed over for another: a key's value would be in two places.

On an event loop the calls run in threads. emcache, which is asynchronous, was no alternative: when a server ends, its
calls wait for their timeout, and it tries to connect again after pauses of up to a minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskq_cloud.clients.base import SDK, Operation, SDKClient, ThreadedClient, shortest
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import ImproperlyConfigured, MissingExtra

try:
    from pymemcache.client.base import PooledClient, normalize_server_spec
    from pymemcache.client.rendezvous import RendezvousHash
    from pymemcache.exceptions import MemcacheClientError, MemcacheError, MemcacheServerError
except ImportError as error:
    raise MissingExtra("memcached", "memcached") from error

CONNECT_TIMEOUT_SECONDS: Final = 5.0
ANSWER_TIMEOUT_SECONDS: Final = 5.0

_THREADS: Final = 10
"""How many calls of an event loop are made at once."""

_TOO_LARGE: Final = "too large"
_OUT_OF_MEMORY: Final = "out of memory"


def open_client(service: str, options: Mapping[str, Any]) -> MemcachedClient:
    """Make the client of one or more servers; the first call connects.

    Args:
        service: the service's name, for errors.
        options: ``servers``: the servers, as ``host:port`` or the path of a Unix socket.

    Raises:
        ImproperlyConfigured: a server's address can't be read.
    """
    timeouts = [shortest(each, options, parts=2) for each in (CONNECT_TIMEOUT_SECONDS, ANSWER_TIMEOUT_SECONDS)]
    try:
        return MemcachedClient(_Servers(options["servers"], *timeouts))
    except ValueError as error:
        raise ImproperlyConfigured(f"{service}: the address of a server can't be read: {error}") from error


async def open_async_client(service: str, options: Mapping[str, Any]) -> ThreadedClient:
    """Make the client of one or more servers for an event loop; see ``open_client``."""
    return ThreadedClient(open_client(service, options), _THREADS, "taskq-memcached")


class _Servers:
    """The servers, each with its connections.

    Args:
        addresses: the servers' addresses.
        connect_seconds: how long a connection may take.
        answer_seconds: how long an answer may take.
    """

    def __init__(self, addresses: Sequence[str], connect_seconds: float, answer_seconds: float) -> None:
        specs = [normalize_server_spec(each) for each in addresses]
        # A name decides which keys are on the server, so it is written as HashClient writes it.
        self.clients = {
            spec if isinstance(spec, str) else f"{spec[0]}:{spec[1]}": PooledClient(
                spec,
                connect_timeout=connect_seconds,
                timeout=answer_seconds,
                no_delay=True,
                default_noreply=False,
            )
            for spec in specs
        }
        self._hash = RendezvousHash(list(self.clients))

    def of(self, key: str) -> Any:
        """The client of the server that has a key."""
        return self.clients[self.name_of(key)]

    def name_of(self, key: str) -> str:
        """The server that has a key."""
        return str(self._hash.get_node(key))

    def by_server(self, keys: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """The keys that each server has."""
        found: dict[str, list[str]] = {}
        for key in keys:
            found.setdefault(self.name_of(key), []).append(key)
        return found

    def close(self) -> None:
        """Close the connections that are not in use."""
        for client in self.clients.values():
            client.close()


def _operation(servers: _Servers, call: Call) -> Operation:
    given = call.parameters
    match call.operation:
        case "gets":
            found: dict[str, tuple[bytes, str]] = {}
            for server, keys in servers.by_server(given["keys"]).items():
                values = yield servers.clients[server].gets_many(keys)
                found |= {key: (value, cas.decode()) for key, (value, cas) in values.items()}
            return found
        case "store":
            client, key, value = servers.of(given["key"]), given["key"], given["value"]
            if given["cas"] is None:
                written = yield client.add(key, value, expire=given["expiry"])
            else:
                written = yield client.cas(key, value, given["cas"].encode(), expire=given["expiry"])
            return bool(written)  # None: the value that was to be replaced is gone
        case "append":
            client, key, value, expiry = servers.of(given["key"]), given["key"], given["value"], given["expiry"]
            while not ((yield client.append(key, value)) or (yield client.add(key, value, expire=expiry))):
                pass  # another writer has just made the value
            yield client.touch(key, expiry)
            return (yield client.get(key)) or b""
        case "delete":
            yield servers.of(given["key"]).delete(given["key"])
            return None
    raise CallError(call, "UnknownOperation", "this module has no such operation", Trouble.REFUSED)


def _call_error(call: Call, error: MemcacheError | OSError) -> CallError:
    name, text = type(error).__name__, _text(error)
    if isinstance(error, MemcacheServerError):
        if _TOO_LARGE in text:
            return CallError(call, "TooLarge", f"{text}: see the server's option -I", Trouble.REFUSED)
        if _OUT_OF_MEMORY in text:
            hint = "give the server more memory (-m), or let it drop values (without -M)"
            return CallError(call, "OutOfMemory", f"{text}: {hint}", Trouble.TRANSIENT)
    elif isinstance(error, MemcacheClientError):
        return CallError(call, name, text, Trouble.REFUSED)
    return CallError(call, name, text or "no answer in time", Trouble.TRANSIENT)


def _text(error: Exception) -> str:
    """What an error says: pymemcache leaves the server's bytes as they are."""
    said = error.args[0] if len(error.args) == 1 else None
    return said.decode(errors="replace") if isinstance(said, bytes) else str(error)


class MemcachedClient(SDKClient):
    """A client of one or more servers. Threads may share it."""

    sdk = SDK(_operation, (MemcacheError, OSError), _call_error)

    def call(self, call: Call) -> Any:
        """Make one call, once. If a connection breaks, those that are not in use are closed, too.

        Raises:
            CallError: the call failed.
        """
        try:
            return super().call(call)
        except CallError as error:
            if error.trouble is Trouble.TRANSIENT:
                self.close()
            raise
