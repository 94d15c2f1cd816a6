"""The push endpoint: Pub/Sub posts a message, the task runs, and the status code tells Pub/Sub what to do next.

``app.pubsub_push_handler(...)`` returns a ``PushEndpoint`` for Cloud Run and Cloud Functions (2nd gen). It is a WSGI
and an ASGI application. A request without a valid token of the expected service account runs nothing.

========================================  ======  ====================================================
request, or the pipeline's settlement     answer  Pub/Sub's reaction
========================================  ======  ====================================================
acknowledged; dead-lettered               204     forgets the message
given back; dead letter not accepted      503     pushes the message again, by its retry policy
not a push, or a malformed push           400     pushes again, until the dead-letter policy applies
no token, or an invalid token             401     pushes again, until the dead-letter policy applies
a token of, or for, somebody else         403     pushes again, until the dead-letter policy applies
========================================  ======  ====================================================

A request may take ``deadline_seconds``, which must not exceed the subscription's acknowledgement deadline. A task whose
time limit does not fit is not started; a task without a time limit gets the time that is left. A server's request
threads can't be interrupted, so tasks run in threads of the endpoint's own, as in the worker's threads pool: if the
limit passes while a task runs C code, the task goes on and its outcome is dropped. The server's concurrency decides how
many tasks run at a time.

Sources: Pub/Sub documentation, "Push subscriptions", "Authenticate push subscriptions".
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

from taskq_cloud.core.flows import retrying, run
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Delivery, Settlement
from taskq_cloud.core.model.outcome import Abandoned, Admission, Admitted, Invocation, Lost, TimedOut
from taskq_cloud.core.ports import KnowsPhysicalNames
from taskq_cloud.errors import DecodeError
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.serverless import push_envelope
from taskq_cloud.serverless.deadlines import ANSWER_MARGIN_SECONDS, LEAST_RUN_SECONDS, needed_seconds, reject
from taskq_cloud.serverless.oidc import Forbidden, KeysUnavailable, TokenError, TokenVerifier
from taskq_cloud.serverless.push_threads import TaskThreads

logger = logging.getLogger("taskq_cloud.serverless")

DEADLINE_SECONDS: Final = 600
"""The longest acknowledgement deadline of a push subscription (Pub/Sub documentation, "Push subscriptions")."""

LARGEST_REQUEST_BYTES: Final = 16_000_000
"""Enough for a message of 10 MB in base64 with its envelope."""

LONGEST_LENGTH_CHARACTERS: Final = 20
"""A Content-Length with more characters than this is treated as missing."""

WSGI_ARGUMENTS: Final = 2
"""WSGI calls an application with two arguments (PEP 3333), ASGI with three."""

MOST_REQUESTS: Final = 1_000
"""The highest concurrency of a Cloud Run instance (Cloud Run documentation, "Maximum concurrent requests")."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request: a status, and a line of text for a person who reads it."""

    status: HTTPStatus
    text: str = ""


_INCOMPLETE: Final = Answer(HTTPStatus.BAD_REQUEST, "the push is incomplete")


class PushHandler:
    """Handles a push request, whichever server received it. Threads may share a handler.

    Args:
        runtime: the application's runtime.
        verifier: decides who may push.
        deadline_seconds: how long a request may take.
    """

    def __init__(self, runtime: Runtime, verifier: TokenVerifier, deadline_seconds: float) -> None:
        self._runtime = runtime
        self._verifier = verifier
        self._deadline_seconds = deadline_seconds
        self._tasks = TaskThreads(runtime, MOST_REQUESTS)

    def refusal(self, method: str, headers: Mapping[str, str], size: int) -> Answer | None:
        """Return the answer to a request that must not be read, or None if the request may be read."""
        try:
            self._verifier.verify(headers.get("authorization"))
        except TokenError as error:
            logger.warning("a push was refused: %s", error, extra={"action": "push.refused"})
            match error:
                case Forbidden():
                    return Answer(HTTPStatus.FORBIDDEN, "this token may not push here")
                case KeysUnavailable():
                    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "tokens can't be verified now")
            return Answer(HTTPStatus.UNAUTHORIZED, "no valid token")
        if method != "POST":
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, "a push must be a POST request")
        if size > LARGEST_REQUEST_BYTES:
            return Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a push has at most {LARGEST_REQUEST_BYTES} bytes")
        return None

    def answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Run the task of a request that ``refusal`` let through."""
        ends_at = time.monotonic() + self._deadline_seconds
        try:
            delivery = push_envelope.read(headers, body, self._queue_named)
        except DecodeError as error:
            # The sender is at fault, so a traceback would not help.
            logger.error("a push could not be read: %s", error, extra={"action": "push.malformed"})  # noqa: TRY400
            return Answer(HTTPStatus.BAD_REQUEST, "not a Pub/Sub push")
        try:
            settlement = run(
                retrying(self._runtime.pipeline.process(delivery)), lambda step: self._perform(step, ends_at)
            )
        except Exception as error:  # the pipeline has let it through
            settlement = self._runtime.pipeline.crashed(delivery, error)
        return self._settle(settlement)

    def close(self) -> None:
        """End the threads."""
        self._tasks.close()

    def _queue_named(self, subscription: str) -> str:
        broker = self._runtime.broker
        if isinstance(broker, KnowsPhysicalNames):
            return broker.queue_named(subscription)
        return subscription.rpartition("/")[2]

    def _perform(self, step: Any, ends_at: float) -> Any:
        if not isinstance(step, Invocation):
            return Admitted(os.getpid()) if isinstance(step, Admission) else self._runtime.connections.perform(step)
        whole_seconds = self._deadline_seconds - ANSWER_MARGIN_SECONDS
        if needed_seconds(step) > whole_seconds:
            margin = f"{ANSWER_MARGIN_SECONDS:g} s are kept for the answer"
            available = f"a push must be answered within {self._deadline_seconds:g} s, of which {margin}"
            remedy = "raise the endpoint's deadline_seconds, to 600 at most, and the subscription's --ack-deadline"
            return reject(step, available, remedy, self._runtime.settings.task_max_receives)
        left_seconds = max(0.0, ends_at - ANSWER_MARGIN_SECONDS - time.monotonic())
        if left_seconds < min(LEAST_RUN_SECONDS, whole_seconds / 2):
            # A slow store or broker has used up the time. A run started now would be cut off, and the task would even
            # fail if the broker doesn't count receives.
            return Abandoned()
        own_limit = step.time_limit
        if own_limit is not None and own_limit <= left_seconds:
            return self._tasks.run(step)
        outcome = self._tasks.run(replace(step, time_limit=left_seconds))
        if isinstance(outcome, TimedOut):
            return Lost(f"the push's time was over after {left_seconds:.1f} s; the task needs more")
        return outcome

    def _settle(self, settlement: Settlement) -> Answer:
        match settlement:
            case Acknowledge():
                return Answer(HTTPStatus.NO_CONTENT)
            case DeadLetter(delivery):
                return self._dead_letter(settlement, delivery)
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "given back")

    def _dead_letter(self, settlement: Settlement, delivery: Delivery) -> Answer:
        try:
            [refused] = self._runtime.connections.run(self._runtime.broker.settle([settlement]))
            error = refused.error if refused else None
        except Exception as failure:  # whatever has failed, the message comes back
            error = failure
        if error is None:
            return Answer(HTTPStatus.NO_CONTENT)
        extra = {"action": "push.settle_failed", "queue": delivery.queue, "message_id": delivery.message_id}
        logger.error(
            "message %s of queue %s could not be dead-lettered, and is given back: %s",
            delivery.message_id,
            delivery.queue,
            error,
            extra=extra,
        )
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "given back")


class PushEndpoint:
    """A WSGI application and an ASGI application in one. A call with two arguments is WSGI, with three ASGI.

    ``gunicorn main:endpoint`` serves it by WSGI. For ASGI, name the method: ``uvicorn main:endpoint.asgi``. A server
    that guesses the protocol takes any callable object for a WSGI application.

    Args:
        handler: answers the requests.
    """

    def __init__(self, handler: PushHandler) -> None:
        self._handler = handler
        self._threads: ThreadPoolExecutor | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Answer a WSGI call, or an ASGI one."""
        return self.wsgi(*arguments) if len(arguments) == WSGI_ARGUMENTS else self.asgi(*arguments)

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

    async def asgi(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer an ASGI 3 request.

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
            answer = _INCOMPLETE if body is None else await self._in_thread(self._handler.answer, headers, body)
        text = answer.text.encode()
        raw = [(name.lower().encode(), value.encode()) for name, value in _headers(answer, text)]
        await send({"type": "http.response.start", "status": answer.status.value, "headers": raw})
        await send({"type": "http.response.body", "body": text})

    def close(self) -> None:
        """End the threads that were started for requests."""
        self._handler.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False)

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


async def _read(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> bytes | None:
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


async def _lifespan(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Confirm the server's start and stop, which need nothing else to be done."""
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
