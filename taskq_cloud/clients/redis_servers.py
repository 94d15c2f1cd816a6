"""Finds the server to use among those that a service names, and opens a connection to it.

Several URLs are tried one after the other, and so are the sentinels that know the primary's address. Of several
servers, a replica is passed over: it refuses to write. The first connection to a server looks at its version and its
settings. The steps are written once for both drivers: ``opened`` yields them.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from taskq_cloud.clients.redis_errors import FAILURES, connection_error, reply_error
from taskq_cloud.clients.redis_protocol import ErrorReply
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.core.lazy.values import dataclass, replace
from taskq_cloud.core.servers.redis import RedisServer, redis_server

logger = logging.getLogger(__name__)

OLDEST_VERSION: Final = (6, 0)
"""The first version with users (ACL), and with timeouts of blocking commands that are fractions of a second."""

TOO_OLD: Final = "ServerTooOld"
"""Our own code for a server whose version is below ``OLDEST_VERSION``."""

_NOT_PRIMARY: Final = "NotPrimary"


@dataclass(frozen=True, slots=True)
class Connect:
    """A step of ``opened``: connect to an address. The answer is a connection."""

    server: RedisServer


@dataclass(frozen=True, slots=True)
class Ask:
    """A step of ``opened``: send commands. The answer is the list of their answers."""

    connection: Any
    commands: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Drop:
    """A step of ``opened``: close a connection."""

    connection: Any


Opening: TypeAlias = Generator[Connect | Ask | Drop, Any, Any]


class Servers:
    """The servers of one service, and which of them to try first.

    Args:
        options: the options of the service: see ``core.servers.redis.redis_service``.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._servers = [redis_server(url) for url in options["urls"]]
        self._options = options
        if options.get("failover_strategy") == "shuffle":
            random.SystemRandom().shuffle(self._servers)
        self._first = 0
        self._checked: set[RedisServer] = set()

    @property
    def several(self) -> bool:
        """Whether another server may take over."""
        return len(self._servers) > 1 or self._servers[0].sentinel

    def opened(self, call: Call) -> Opening:
        """Open a connection to the first server that can be used, and return it.

        Raises:
            CallError: no server can be used; the error says why for each of them.
        """
        errors: list[CallError] = []
        for offset in range(len(self._servers)):
            position = (self._first + offset) % len(self._servers)
            try:
                server = self._servers[position]
                if server.sentinel:
                    server = yield from self._primary(call, server)
                connection = yield from self._open(call, server)
            except CallError as error:
                errors.append(error)
            else:
                self._first = position
                return connection
        raise _joined(call, errors)

    def _open(self, call: Call, server: RedisServer) -> Generator[Connect | Ask | Drop, Any, Any]:
        commands: list[list[Any]] = []
        if server.password is not None:
            commands.append(["AUTH", *([server.username] if server.username else []), server.password])
        if server.database:
            commands.append(["SELECT", server.database])
        greetings = len(commands)
        unchecked = server not in self._checked
        if unchecked:
            commands += [["INFO", "server"], ["INFO", "memory"]]
        if self.several:
            commands.append(["ROLE"])
        connection, answers = yield from self._greeted(call, server, commands)
        try:
            for answer in answers[:greetings]:
                if isinstance(answer, ErrorReply):
                    raise reply_error(call, str(server), answer)
            if unchecked:
                self._check(call, server, *answers[greetings : greetings + 2])
            if self.several:
                _check_role(call, server, answers[-1])
        except CallError:
            yield Drop(connection)
            raise
        return connection

    def _greeted(
        self, call: Call, server: RedisServer, commands: Sequence[Sequence[Any]]
    ) -> Generator[Connect | Ask | Drop, Any, tuple[Any, list[Any]]]:
        connection = None
        try:
            connection = yield Connect(server)
            return connection, ((yield Ask(connection, commands)) if commands else [])
        except FAILURES as error:
            if connection is not None:
                yield Drop(connection)
            raise connection_error(call, str(server), error) from error

    def _primary(self, call: Call, sentinel: RedisServer) -> Generator[Connect | Ask | Drop, Any, RedisServer]:
        """Ask a sentinel for the primary's address."""
        name = self._options["master_name"]
        commands: list[list[Any]] = [["SENTINEL", "get-master-addr-by-name", name]]
        password = self._options.get("sentinel_password")
        if password is not None:
            user = self._options.get("sentinel_username")
            commands.insert(0, ["AUTH", *([user] if user else []), password])
        connection, answers = yield from self._greeted(call, sentinel, commands)
        yield Drop(connection)
        for answer in answers:
            if isinstance(answer, ErrorReply):
                raise reply_error(call, str(sentinel), answer)
        if answers[-1] is None:
            text = f"{sentinel}: the sentinel knows no primary {name!r}: check master_name"
            raise CallError(call, "UnknownPrimary", text, Trouble.TRANSIENT)
        host, port = answers[-1]
        return replace(sentinel, host=host.decode(), port=int(port), sentinel=False)

    def _check(self, call: Call, server: RedisServer, about: Any, memory: Any) -> None:
        if isinstance(about, ErrorReply):
            if about.code != "NOPERM":  # NOAUTH, LOADING
                raise reply_error(call, str(server), about)
        else:
            version = _facts(about).get("redis_version", "")
            if version and _numbers(version) < OLDEST_VERSION:
                oldest = ".".join(map(str, OLDEST_VERSION))
                text = f"{server}: the server has version {version}, and {oldest} is the oldest that can be used"
                raise CallError(call, TOO_OLD, text, Trouble.REFUSED)
        if not isinstance(memory, ErrorReply):
            _warn_of_eviction(server, _facts(memory))
        self._checked.add(server)


def _check_role(call: Call, server: RedisServer, role: Any) -> None:
    """Pass over a replica, which refuses to write."""
    if isinstance(role, list) and role[0] != b"master":
        text = f"{server}: the server is a {role[0].decode()}, and only the primary can be written to"
        raise CallError(call, _NOT_PRIMARY, text, Trouble.TRANSIENT)


_warned: Final[set[RedisServer]] = set()
"""The servers of whose settings this process has warned."""


def _warn_of_eviction(server: RedisServer, memory: Mapping[str, str]) -> None:
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy == "noeviction" or memory.get("maxmemory") == "0" or server in _warned:
        return
    _warned.add(server)
    losses = "queued messages and results" if policy.startswith("allkeys") else "results before they expire"
    logger.warning(
        "%s drops %s when its memory is full, since its maxmemory-policy is %s: set maxmemory-policy noeviction",
        server,
        losses,
        policy,
        extra={"action": "redis.eviction"},
    )


def _facts(info: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in info.decode(errors="replace").splitlines())
    return {name: value for name, _, value in pairs}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _joined(call: Call, errors: Sequence[CallError]) -> CallError:
    """One error for all servers. It may pass if any of them may pass."""
    if len(errors) == 1:
        return errors[0]
    passing = [error for error in errors if error.trouble is Trouble.TRANSIENT]
    worst = (passing or errors)[0]
    return CallError(call, worst.code, "; ".join(error.message for error in errors), worst.trouble)
