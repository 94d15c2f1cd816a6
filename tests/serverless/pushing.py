"""The surroundings of a push endpoint: an issuer that signs tokens with its own keys, and WSGI and ASGI servers."""

import asyncio
import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import ThreadingMixIn
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from hypercorn.asyncio import serve
from hypercorn.config import Config

from tests.brokers.pubsub_server import PubSubServer

AUDIENCE = "https://shop.example.com/push"
ACCOUNT = "pusher@my-project.iam.gserviceaccount.com"
ISSUER = "https://accounts.google.com"
PROJECT = "test-project"
SUBSCRIPTION = f"projects/{PROJECT}/subscriptions/shop-celery"
DEADLINE_SECONDS = 3.0
"""The deadline of the endpoints that the tests make."""


class Issuer:
    """Signs tokens and serves its public keys over HTTP.

    Attributes:
        fetched: how often the keys were requested.
        failing: answer with status 500.
        breaks_off: send only half of the answer.
        on_fetch: called at each request for the keys.
    """

    def __init__(self) -> None:
        self.keys: dict[str, rsa.RSAPrivateKey] = {}
        self.fetched = 0
        self.failing = False
        self.breaks_off = False
        self.on_fetch: Callable[[], Any] = lambda: None
        self.rotate("first")
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.fetched += 1
                issuer.on_fetch()
                body = json.dumps({"keys": issuer.published()}).encode()
                self.send_response(500 if issuer.failing else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if issuer.breaks_off else body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/certs"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def rotate(self, key_id: str) -> None:
        """Sign with a new key from now on, and go on publishing the old keys."""
        self.keys[key_id] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.key_id = key_id

    def published(self) -> list[dict[str, Any]]:
        keys = []
        for key_id, key in self.keys.items():
            described = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
            keys.append({**described, "kid": key_id, "alg": "RS256", "use": "sig"})
        return keys

    def claims(self, **other: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 3600,
            "email": ACCOUNT,
            "email_verified": True,
        }
        return {name: value for name, value in {**claims, **other}.items() if value is not None}

    def token(self, **other: Any) -> str:
        return jwt.encode(self.claims(**other), self.keys[self.key_id], "RS256", headers={"kid": self.key_id})


def envelope(body: str | bytes, subscription: str, attempt: int | None = 1, **message: Any) -> bytes:
    """Return the body of a wrapped push."""
    data = body.encode() if isinstance(body, str) else body
    pushed: dict[str, Any] = {
        "message": {
            "data": base64.b64encode(data).decode(),
            "messageId": "m-1",
            "publishTime": "2026-01-02T03:04:05.678Z",
            **message,
        },
        "subscription": subscription,
    }
    if attempt is not None:
        pushed["deliveryAttempt"] = attempt
    return json.dumps(pushed).encode()


def post(
    url: str, body: bytes, token: str | None, headers: dict[str, str] | None = None, method: str = "POST"
) -> tuple[int, str]:
    """Send a request, and return the status and text of the answer."""
    request = Request(url, data=body if method == "POST" else None, method=method, headers=headers or {})
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urlopen(request, timeout=30) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


class _ThreadingWSGIServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served_by_wsgi(endpoint: Callable[..., Any]) -> Iterator[str]:
    with make_server("127.0.0.1", 0, endpoint, _ThreadingWSGIServer, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@contextmanager
def served_by_asgi(endpoint: Callable[..., Any]) -> Iterator[str]:
    config, started = Config(), threading.Event()
    config.bind = ["127.0.0.1:0"]
    sockets = config.create_sockets()
    port = sockets.insecure_sockets[0].getsockname()[1]
    sockets.insecure_sockets[0].listen()  # so that a request that comes before the server has started waits
    config.create_sockets = lambda: sockets  # type: ignore[method-assign]
    stop: asyncio.Event | None = None
    loop = asyncio.new_event_loop()

    async def main() -> None:
        nonlocal stop
        stop = asyncio.Event()
        started.set()
        await serve(endpoint, config, shutdown_trigger=stop.wait, mode="asgi")

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    started.wait(10)
    yield f"http://127.0.0.1:{port}/"
    assert stop is not None
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def dead_letters(server: PubSubServer) -> list[dict[str, str]]:
    messages = server.state.subscriptions[f"projects/{PROJECT}/subscriptions/shop-celery-dead"].messages
    return [each.attributes for each in messages.values()]
