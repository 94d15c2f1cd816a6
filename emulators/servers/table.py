"""The servers by name: how each is found on this machine and started, and how a client names it in a URL."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import struct
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from emulators.process import Emulator

_PROGRAMS: Final = Path(__file__).parent
_NPM: Final = Path(".emulators")
_NODE_MODULES: Final = _NPM / "node_modules"


@dataclass(frozen=True, slots=True)
class ServerKind:
    """A kind of server.

    Args:
        title: its name in messages.
        url: the beginning of a client's URL, with ``{port}``.
        command: makes the command that serves at a port, given the port and a folder for data; None: one of its own.
        missing: says why the server can't be started on this machine; None: it can.
        ready: tells whether the server at a port serves; None: it does once it accepts connections.
    """

    title: str
    url: str
    command: Callable[[int, Path | None], Sequence[str]]
    missing: Callable[[], str | None]
    ready: Callable[[int], bool] | None = None


def server(name: str, folder: Path | None = None) -> Emulator:
    """Return a server that isn't started yet; as a context manager it answers from entry to exit.

    Args:
        name: its name in ``SERVERS``.
        folder: where it keeps its data; None: in a temporary folder that goes when the server ends.
    """
    kind = SERVERS[name]
    return Emulator(kind.title, lambda port: kind.command(port, folder), kind.url, kind.ready)


def _program(name: str) -> Callable[[int, Path | None], list[str]]:
    def command(port: int, folder: Path | None) -> list[str]:
        data = [] if folder is None else ["--folder", str(folder)]
        return [sys.executable, str(_PROGRAMS / f"{name}_program.py"), "--port", str(port), *data]

    return command


def _needs(title: str, *programs: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        absent = [each for each in programs if shutil.which(each) is None and not Path(each).exists()]
        return f"{title} is not installed: make servers installs it where it may" if absent else None

    return missing


def _needs_package(title: str, script: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        return None if _script(script) else f"{title} is not installed: make test installs it with pip"

    return missing


def _script(name: str) -> str | None:
    packaged = importlib.util.find_spec(name.replace("-", "_"))
    folder = Path(packaged.origin).parent if packaged is not None and packaged.origin is not None else Path()
    for found in (folder / "bin" / name, Path(sysconfig.get_path("scripts")) / name):
        if found.exists():
            return str(found)
    return shutil.which(name)


def _needs_npm(title: str, module: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        if shutil.which("node") is None or not (_NODE_MODULES / module).exists():
            return f"{title} is not installed: make servers installs it with npm, which needs Node"
        return None

    return missing


def _redis(port: int, folder: Path | None) -> list[str]:
    fixed = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    if folder is None:
        return [*fixed, "--appendonly", "no"]
    return [*fixed, "--appendonly", "yes", "--appendfsync", "always", "--dir", str(folder)]


def _memcached(port: int, folder: Path | None) -> list[str]:
    return ["memcached", "-l", "127.0.0.1", "-p", str(port), "-u", "nobody", "-I", "8m"]


def _mongodb(port: int, folder: Path | None) -> list[str]:
    # It refuses to start where another one has left its file in the same place.
    own = (folder or Path(tempfile.gettempdir())) / f"nx-27017-{port}"
    files = ["--pid-file", f"{own}.pid", "--log-file", os.devnull]
    data = ["--data-dir", "memory" if folder is None else str(folder)]
    return [_script("nx-27017") or "nx-27017", *data, *files, "--host", "127.0.0.1", "-p", str(port)]


def _elasticsearch(port: int, folder: Path | None) -> list[str]:
    return [_script("osmem-server") or "osmem-server", "-addr", f"127.0.0.1:{port}", "-no-stdin-watch"]


def _cosmosdb(port: int, folder: Path | None) -> list[str]:
    program = str((_NODE_MODULES / ".bin" / "cosmosdb-server").absolute())
    return ["node", program, "--no-ssl", "--port", str(port)]


def _postgresql_is_ready(port: int) -> bool:
    """Whether a login gets another answer than an error; while PostgreSQL starts or recovers, it gets one."""
    # PostgreSQL's documentation, "Message Formats": StartupMessage of protocol 3.0.
    parameters = b"user\0taskq\0database\0postgres\0\0"
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(struct.pack("!ii", 8 + len(parameters), 3 << 16) + parameters)
        return connection.recv(1) == b"R"
    return False


_POSTGRESQL_PROGRAMS: Final = "/usr/lib/postgresql"

SERVERS: Final[dict[str, ServerKind]] = {
    "redis": ServerKind("Redis", "redis://127.0.0.1:{port}", _redis, _needs("Redis", "redis-server")),
    "rabbitmq": ServerKind(
        "RabbitMQ",
        "amqp://guest:guest@127.0.0.1:{port}",
        _program("rabbitmq"),
        _needs("RabbitMQ", "/usr/lib/rabbitmq/bin/rabbitmq-server"),
    ),
    "postgresql": ServerKind(
        "PostgreSQL",
        "postgresql://taskq@127.0.0.1:{port}",
        _program("postgresql"),
        _needs("PostgreSQL", _POSTGRESQL_PROGRAMS),
        _postgresql_is_ready,
    ),
    "mariadb": ServerKind(
        "MariaDB", "mysql+pymysql://taskq:taskq@127.0.0.1:{port}", _program("mariadb"), _needs("MariaDB", "mariadbd")
    ),
    "memcached": ServerKind(
        "memcached", "cache+memcached://127.0.0.1:{port}", _memcached, _needs("memcached", "memcached")
    ),
    "mongodb": ServerKind(
        "MongoDB (nx-27017)", "mongodb://127.0.0.1:{port}", _mongodb, _needs_package("nx-27017", "nx-27017")
    ),
    "elasticsearch": ServerKind(
        "Elasticsearch (osmem-server)",
        "elasticsearch://127.0.0.1:{port}",
        _elasticsearch,
        _needs_package("osmem-server", "osmem-server"),
    ),
    "couchdb": ServerKind(
        "CouchDB (pouchdb-server)",
        "couchdb://127.0.0.1:{port}",
        _program("couchdb"),
        _needs_npm("pouchdb-server", "pouchdb-server"),
    ),
    "cosmosdb": ServerKind(
        "Cosmos DB (@vercel/cosmosdb-server)",
        "http://127.0.0.1:{port}",
        _cosmosdb,
        _needs_npm("@vercel/cosmosdb-server", "@vercel/cosmosdb-server"),
    ),
}
"""Name -> the kind of server."""
