"""The addresses of servers that run in this process, as the stores take them."""

from __future__ import annotations

from typing import Any

from emulators.documents import Cassandra, Couchbase
from taskq_cloud.stores.results.couchbase import CouchbaseServers


def cassandra_address(server: Cassandra, **more: Any) -> dict[str, Any]:
    """The address of a server, and further options of the client."""
    return {"hosts": ("127.0.0.1",), "port": server.port, **more}


def couchbase_servers(server: Couchbase, password: str = "s3cret") -> CouchbaseServers:
    """The address of a server and its user."""
    return CouchbaseServers(f"couchbase://127.0.0.1:{server.port}", "shop", password)
