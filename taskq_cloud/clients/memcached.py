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

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Any, Final

from taskq_cloud.clients.base import SDK, Operation, SDKClient, ThreadedClient, shortest
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import ImproperlyConfigured, MissingExtra

try:
    from pymemcache.client.base import Client, normalize_server_spec
    from pymemcache.client.rendezvous import RendezvousHash
    from pymemcache.exceptions import MemcacheClientError, MemcacheError, MemcacheServerError
except ImportError as error:
    raise MissingExtra("memcached", "memcached") from error

CONNECT_TIMEOUT_SECONDS: Final = 5.0
ANSWER_TIMEOUT_SECONDS: Final = 5.0

_THREADS: Final = 10
"""How many calls of an event loop are made at once."""

OUT_OF_MEMORY: Final = "OutOfMemory"
"""Our own code for a server that has no memory left, and drops nothing."""

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
    settings = {
        "connect_timeout": shortest(CONNECT_TIMEOUT_SECONDS, options, parts=2),
        "timeout": shortest(ANSWER_TIMEOUT_SECONDS, options, parts=2),
        "no_delay": True,
        "default_noreply": False,
    }
    try:
        return MemcachedClient(_Servers(options["servers"], settings))
    except ValueError as error:
        raise ImproperlyConfigured(f"{service}: the address of a server can't be read: {error}") from error


async def open_async_client(service: str, options: Mapping[str, Any]) -> ThreadedClient:
    """Make the client of one or more servers for an event loop; see ``open_client``."""
    return ThreadedClient(open_client(service, options), _THREADS, "taskq-memcached")


class _Connections:
    """The connections to one server, each of which one thread uses at a time.

    pymemcache's own pool closes those in use with the others.

    Args:
        connect: makes a client with a connection that its first command opens.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._idle: deque[Any] = deque()

    @contextmanager
    def one(self) -> Iterator[Any]:
        """Use a connection. If that fails, those that are not in use are closed, too: the server may have ended."""
        try:
            client = self._idle.pop()
        except IndexError:
            client = self._connect()
        try:
            yield client
        except BaseException:
            client.close()
            self.close()
            raise
        self._idle.append(client)

    def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().close()


class _Servers:
    """The servers, each with its connections.

    Args:
        addresses: the servers' addresses.
        settings: the arguments of pymemcache's ``Client``.
    """

    def __init__(self, addresses: Sequence[str], settings: Mapping[str, Any]) -> None:
        specs = [normalize_server_spec(each) for each in addresses]
        # A name decides which keys are on the server, so it is written as HashClient writes it.
        self._connections = {
            spec if isinstance(spec, str) else f"{spec[0]}:{spec[1]}": _Connections(partial(Client, spec, **settings))
            for spec in specs
        }
        self._hash = RendezvousHash(list(self._connections))

    def at(self, name: str) -> AbstractContextManager[Any]:
        """A connection to a server."""
        return self._connections[name].one()

    def of(self, key: str) -> AbstractContextManager[Any]:
        """A connection to the server that has a key."""
        return self.at(self.name_of(key))

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
        for each in self._connections.values():
            each.close()


def _operation(servers: _Servers, call: Call) -> Operation:
    given = call.parameters
    match call.operation:
        case "gets":
            found: dict[str, tuple[bytes, str]] = {}
            for server, keys in servers.by_server(given["keys"]).items():
                with servers.at(server) as client:
                    values = yield client.gets_many(keys)
                found |= {key: (value, cas.decode()) for key, (value, cas) in values.items()}
            return found
        case "store":
            key, value, cas, expiry = given["key"], given["value"], given["cas"], given["expiry"]
            with servers.of(key) as client:
                if cas is None:
                    written = yield client.add(key, value, expire=expiry)
                else:
                    written = yield client.cas(key, value, cas.encode(), expire=expiry)
            return bool(written)  # None: the value that was to be replaced is gone
        case "append":
            key, value, expiry = given["key"], given["value"], given["expiry"]
            with servers.of(key) as client:
                if not ((yield client.append(key, value)) or (yield client.add(key, value, expire=expiry))):
                    raise CallError(call, "Changed", "another writer has just made the value", Trouble.TRANSIENT)
                yield client.touch(key, expiry)
                return (yield client.get(key)) or b""
        case "delete":
            with servers.of(given["key"]) as client:
                yield client.delete(given["key"])
            return None
    raise CallError(call, "UnknownOperation", "this module has no such operation", Trouble.REFUSED)


def _call_error(call: Call, error: MemcacheError | OSError) -> CallError:
    name, text = type(error).__name__, _text(error)
    if isinstance(error, MemcacheServerError):
        if _TOO_LARGE in text:
            return CallError(call, "TooLarge", f"{text}: see the server's option -I", Trouble.REFUSED)
        if _OUT_OF_MEMORY in text.lower():
            hint = "give the server more memory (-m), or let it drop values (without -M)"
            return CallError(call, OUT_OF_MEMORY, f"{text}: {hint}", Trouble.TRANSIENT)
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
