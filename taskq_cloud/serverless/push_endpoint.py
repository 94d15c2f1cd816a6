"""Connect a push handler to web servers: one object that is a WSGI application and an ASGI application.

``app.pubsub_push_handler(...)`` returns it, for Cloud Run and Cloud Functions (2nd gen).

Servers guess an application's protocol from its form. uvicorn first calls it without arguments, as it may be a factory;
then uvicorn and daphne take any object for an ASGI 3 application whose ``__call__`` is a coroutine function, and for an
ASGI 2 application otherwise. hypercorn takes such other objects for WSGI applications. A bound method counts as another
object, even if it is a coroutine function.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from taskq_cloud.serverless.pubsub_push import GIVEN_BACK, LARGEST_REQUEST_BYTES, MOST_REQUESTS, Answer, PushHandler
from taskq_cloud.serverless.push_threads import RequestEnd

logger = logging.getLogger("taskq_cloud.serverless")

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LONGEST_LENGTH_CHARACTERS: Final = 20
"""A Content-Length with more characters than this is treated as missing."""

_INCOMPLETE: Final = Answer(HTTPStatus.BAD_REQUEST, "the push is incomplete")


class PushEndpoint:
    """A push endpoint for web servers.

    ``gunicorn main:endpoint`` serves it by WSGI, and ``uvicorn main:endpoint.asgi`` by ASGI. The number of arguments
    of a call tells the protocol: one is ASGI 2 (``endpoint(scope)`` returns a function of receive and send), two are
    WSGI, and three are ASGI 3.

    Args:
        handler: answers the requests.

    Attributes:
        asgi: the endpoint as an ASGI 3 application only.
    """

    def __init__(self, handler: PushHandler) -> None:
        self._handler = handler
        self.asgi = AsgiEndpoint(handler)

    def __call__(self, *arguments: Any) -> Any:
        """Answer a WSGI call, or an ASGI one.

        Raises:
            TypeError: the number of arguments belongs to none of the protocols.
        """
        match arguments:
            case (scope,):
                return partial(self.asgi, scope)
            case (environ, start_response):
                return self.wsgi(environ, start_response)
            case (scope, receive, send):
                return self.asgi(scope, receive, send)
        raise TypeError(
            f"a push endpoint is called with a scope (ASGI 2), with environ and start_response (WSGI), or with scope, "
            f"receive and send (ASGI 3), and not with {len(arguments)} arguments"
        )

    def wsgi(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a WSGI request (PEP 3333)."""
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        size = _length(environ.get("CONTENT_LENGTH"))
        answer = self._handler.refusal(environ["REQUEST_METHOD"], headers, size or 0)
        if answer is None and size is None:
            # Only its length tells WSGI where a request ends. Without it, an empty body would be taken for the message.
            answer = Answer(HTTPStatus.LENGTH_REQUIRED, "a push must have a Content-Length")
        if answer is None:
            request = environ["wsgi.input"].read(size)
            answer = self._handler.answer(headers, request) if len(request) == size else _INCOMPLETE
        body = answer.text.encode()
        start_response(f"{answer.status.value} {answer.status.phrase}", _headers(answer, body))
        return [body]

    def close(self) -> None:
        """End the threads that were started for requests."""
        self._handler.close()
        self.asgi.close()


class AsgiEndpoint:
    """A push endpoint as an ASGI 3 application.

    Args:
        handler: answers the requests.
    """

    def __init__(self, handler: PushHandler) -> None:
        self._handler = handler
        self._threads: ThreadPoolExecutor | None = None

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request. If the server cancels this call, the run ends and the answer is 503.

        Raises:
            ValueError: the protocol isn't HTTP.
        """
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"a push endpoint serves HTTP only, and not {scope['type']}")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        size = _length(headers.get("content-length")) or 0
        # Verifying a token may fetch keys, and a task takes time. Neither may block the server's event loop.
        answer = await self._in_thread(self._handler.refusal, scope["method"], headers, size)
        if answer is None:
            body = await _read(receive)
            answer = _INCOMPLETE if body is None else await self._answer(headers, body)
        text = answer.text.encode()
        raw = [(name.lower().encode(), value.encode()) for name, value in _headers(answer, text)]
        await send({"type": "http.response.start", "status": answer.status.value, "headers": raw})
        await send({"type": "http.response.body", "body": text})

    def close(self) -> None:
        """End the threads that were started for requests."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)

    async def _answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        end = RequestEnd()
        try:
            answer: Answer = await self._in_thread(self._handler.answer, headers, body, end)
        except asyncio.CancelledError:
            # The server stops and waits no longer. Pub/Sub is told so in an orderly answer, while there is a
            # connection. The task must not go on meanwhile: it would run beside itself once it is pushed again.
            end.set()
            logger.warning("the server ended a push before its task had ended", extra={"action": "push.cancelled"})
            return GIVEN_BACK
        return answer

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(MOST_REQUESTS, thread_name_prefix="taskq-push")
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def _headers(answer: Answer, body: bytes) -> list[tuple[str, str]]:
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    if answer.status is HTTPStatus.NO_CONTENT:
        return []
    if answer.status is HTTPStatus.UNAUTHORIZED:
        headers.append(("WWW-Authenticate", "Bearer"))
    if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("Allow", "POST"))
    return headers


def _length(value: Any) -> int | None:
    text = str(value)
    # str.isdigit accepts "²", which int() does not; nor does int() accept some thousands of digits.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_LENGTH_CHARACTERS else None


async def _read(receive: Receive) -> bytes | None:
    """Return a request's body, or None if its sender disconnects first or sends too much."""
    body = bytearray()
    while len(body) <= LARGEST_REQUEST_BYTES:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        body += event.get("body", b"")
        if not event.get("more_body"):
            return bytes(body)
    return None


async def _lifespan(receive: Receive, send: Send) -> None:
    """Confirm the server's start and stop, which need nothing else to be done."""
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
