"""Results in Cosmos DB: the contract, the items of Celery's backend, and failures, against an emulator.

The emulator answers 500 where the service answers 404 to a request for an item that doesn't exist: ``Corrected`` stands
in front of it.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from taskq_cloud.stores.results.cosmosdb import CosmosAccount, CosmosDBResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract

pytestmark = pytest.mark.slow

KEY = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="


class Corrected(BaseHTTPRequestHandler):
    """Passes requests on to the emulator, and makes 404 of its failure to find an item."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    emulator: str

    def setup(self) -> None:
        super().setup()
        self.connection_to_emulator = http.client.HTTPConnection(self.emulator, timeout=30)

    def finish(self) -> None:
        self.connection_to_emulator.close()
        super().finish()

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.connection_to_emulator.request(self.command, self.path, body, dict(self.headers))
        answer = self.connection_to_emulator.getresponse()
        content = answer.read()
        missing = answer.status == 500 and b"reading 'id'" in content
        self.send_response(404 if missing else answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_DELETE = _pass_on  # noqa: N815 - the base class names them so

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def endpoint(server_url: Callable[[str], str]) -> Iterator[str]:
    class Handler(Corrected):
        emulator = urlsplit(server_url("cosmosdb")).netloc

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def account(endpoint: str) -> CosmosAccount:
    return CosmosAccount(endpoint, KEY, discovery=False)


@pytest.fixture
def database() -> str:
    return f"celery-{uuid4()}"


# The SDK passes the bytes to aiohttp, which recommends a file for so many.
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
class TestCosmosDB(ResultStoreContract):
    @pytest.fixture
    def store(self, account: CosmosAccount, database: str, clock: FakeClock) -> Any:
        return CosmosDBResults(account, database, clock=clock)
