"""Ports for servers that tests start on this machine."""

from __future__ import annotations

import random
import socket
from typing import Final

# Below the range that Linux uses for outgoing connections (net.ipv4.ip_local_port_range): while a test has stopped a
# server to simulate an outage, no client's own socket can get the server's port.
_FIRST_PORT: Final = 20_000
_LAST_PORT: Final = 32_000


def free_port() -> int:
    """Return a port of 127.0.0.1 at which nothing listens, and which no outgoing connection gets.

    Raises:
        RuntimeError: a hundred tries found no free port.
    """
    for port in random.sample(range(_FIRST_PORT, _LAST_PORT), 100):
        if is_free(port):
            return port
    raise RuntimeError(f"no free port on 127.0.0.1 between {_FIRST_PORT} and {_LAST_PORT}")


def is_free(port: int) -> bool:
    """Whether nothing listens at a port of 127.0.0.1."""
    with socket.socket() as probe:
        # A port is free although connections of a stopped server are still being closed.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
