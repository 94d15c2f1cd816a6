"""The push endpoint: Pub/Sub posts a message, the task runs, the status code says what becomes of the message.

``app.pubsub_push_handler(...)`` makes a ``PushEndpoint``, for Cloud Run and Cloud Functions (2nd gen): a WSGI and an
ASGI application. A request without a valid token of the expected service account runs nothing.

====================================  ======  =======================================================
the pipeline's settlement             answer  what Pub/Sub does
====================================  ======  =======================================================
acknowledged; dead-lettered           204     forgets the message
given back; a dead letter not taken   503     pushes it again, as the subscription's retry policy says
no push, or a malformed one           400     likewise, until the dead-letter policy takes it
no token, or an invalid one           401     likewise
a token for or of somebody else       403     likewise
====================================  ======  =======================================================

A request may take ``deadline_seconds``, which must not be more than the subscription's acknowledgement deadline. A task
whose time limit does not fit is not begun; one without a limit gets what is left. Tasks run in threads of their own, as
in the worker's threads pool, for a server's request threads can't be interrupted: a task that its limit finds in C code
goes on, and its outcome is dropped. How many run at a time is the server's concurrency.

Sources: Pub/Sub documentation, "Push subscriptions", "Authenticate push subscriptions".
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

from taskq_cloud.core.flows import retrying, run
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Delivery, Settlement
from taskq_cloud.core.model.outcome import Abandoned, Admission, Invocation, Lost, Outcome, TimedOut
from taskq_cloud.core.ports import KnowsPhysicalNames
from taskq_cloud.errors import DecodeError, TaskQError
from taskq_cloud.pools.threads import ThreadPool
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.serverless import push_envelope
from taskq_cloud.serverless.deadlines import ANSWER_MARGIN_SECONDS, LEAST_RUN_SECONDS, needed_seconds, refuse
from taskq_cloud.serverless.oidc import Forbidden, KeysUnavailable, TokenError, TokenVerifier

logger = logging.getLogger("taskq_cloud.serverless")

DEADLINE_SECONDS: Final = 600
"""The longest acknowledgement deadline of a push subscription (Pub/Sub documentation, "Push subscriptions")."""

LARGEST_REQUEST_BYTES: Final = 16_000_000
"""A message of 10 MB in base64, and its envelope."""

LONGEST_LENGTH_CHARACTERS: Final = 20
"""Of a Content-Length that is looked at."""

MOST_REQUESTS: Final = 1_000
"""The highest concurrency of a Cloud Run instance (Cloud Run documentation, "Maximum concurrent requests")."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, and a line for whoever looks at it."""

    status: HTTPStatus
    text: str = ""


_BROKEN_OFF: Final = Answer(HTTPStatus.BAD_REQUEST, "the push is not whole")


class Push:
    """What is done with a request, whatever server brings it. Threads may share it.

    Args:
        runtime: the application's.
        verifier: decides who may ask.
        deadline_seconds: how long a request may take.
    """

    def __init__(self, runtime: Runtime, verifier: TokenVerifier, deadline_seconds: float) -> None:
        self._runtime = runtime
        self._verifier = verifier
        self._deadline_seconds = deadline_seconds
        self._tasks = _TaskThreads(runtime)

    def refusal(self, method: str, headers: Mapping[str, str], size: int) -> Answer | None:
        """Why a request is not even read, or None."""
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
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, "pushes are posted")
        if size > LARGEST_REQUEST_BYTES:
            return Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a push has at most {LARGEST_REQUEST_BYTES} bytes")
        return None

    def answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Run what a request that was not refused brings."""
        ends_at = time.monotonic() + self._deadline_seconds
        try:
            delivery = push_envelope.read(headers, body, self._queue_named)
        except DecodeError as error:
            logger.error("%s", error, extra={"action": "push.malformed"})  # noqa: TRY400 - not a fault of ours
            return Answer(HTTPStatus.BAD_REQUEST, "no push of Pub/Sub's")
        try:
            settlement = run(
                retrying(self._runtime.pipeline.process(delivery)), lambda step: self._perform(step, ends_at)
            )
            return self._settle(settlement)
        except Exception:
            extra = {"action": "push.failed", "queue": delivery.queue, "message_id": delivery.message_id}
            logger.exception("message %s could not be handled; it is given back", delivery.message_id, extra=extra)
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "see the log")

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
            return True if isinstance(step, Admission) else self._runtime.connections.perform(step)
        whole_seconds = self._deadline_seconds - ANSWER_MARGIN_SECONDS
        if needed_seconds(step) > whole_seconds:
            within = f"a push is answered within {self._deadline_seconds:g} s, {ANSWER_MARGIN_SECONDS:g} s of it kept"
            remedy = "raise the endpoint's deadline_seconds, 600 at most, and the subscription's --ack-deadline"
            return refuse(step, within, remedy, self._runtime.settings.task_max_receives)
        left_seconds = max(0.0, ends_at - ANSWER_MARGIN_SECONDS - time.monotonic())
        if left_seconds < min(LEAST_RUN_SECONDS, whole_seconds / 2):
            # A store or broker took the time. Begun now, the run would be cut off, and where nobody counts, failed.
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
        except TaskQError as failure:
            error = failure
        if error is None:
            return Answer(HTTPStatus.NO_CONTENT)
        extra = {"action": "push.settle_failed", "queue": delivery.queue, "message_id": delivery.message_id}
        logger.error("message %s could not be dead-lettered: %s", delivery.message_id, error, extra=extra)
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "given back")


class PushEndpoint:
    """A WSGI application and an ASGI application in one: called with two arguments, or with three.

    ``gunicorn main:endpoint`` finds the one; ``uvicorn main:endpoint.asgi`` names the other, for a server that guesses
    takes what can be called for WSGI.

    Args:
        push: answers the requests.
    """

    def __init__(self, push: Push) -> None:
        self._push = push
        self._threads: ThreadPoolExecutor | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Answer a WSGI call, or an ASGI one."""
        return self.wsgi(*arguments) if len(arguments) == 2 else self.asgi(*arguments)  # noqa: PLR2004 - WSGI's two

    def wsgi(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request as WSGI has it (PEP 3333)."""
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        size = _length(environ.get("CONTENT_LENGTH"))
        answer = self._push.refusal(environ["REQUEST_METHOD"], headers, size or 0)
        if answer is None and size is None:
            # WSGI has no other way to tell where a request ends; an empty body would be taken for the message.
            answer = Answer(HTTPStatus.LENGTH_REQUIRED, "a push says how long it is")
        if answer is None:
            request = environ["wsgi.input"].read(size)
            answer = self._push.answer(headers, request) if len(request) == size else _BROKEN_OFF
        body = answer.text.encode()
        start_response(f"{answer.status.value} {answer.status.phrase}", _headers(answer, body))
        return [body]

    async def asgi(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer a request as ASGI 3 has it; other protocols than HTTP are not served."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"a push endpoint serves HTTP, not {scope['type']}")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        size = _length(headers.get("content-length")) or 0
        # Verifying may fetch keys, and a task takes its time: neither on the server's loop.
        answer = await self._in_thread(self._push.refusal, scope["method"], headers, size)
        if answer is None:
            body = await _read(receive)
            answer = _BROKEN_OFF if body is None else await self._in_thread(self._push.answer, headers, body)
        text = answer.text.encode()
        raw = [(name.lower().encode(), value.encode()) for name, value in _headers(answer, text)]
        await send({"type": "http.response.start", "status": answer.status.value, "headers": raw})
        await send({"type": "http.response.body", "body": text})

    def close(self) -> None:
        """End the threads that requests have started."""
        self._push.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False)

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(MOST_REQUESTS, thread_name_prefix="taskq-push")
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


class _TaskThreads:
    """The worker's threads pool, for callers that are threads: it lives on an event loop in a thread of its own.

    Started by the first task and not before: a server may fork until then.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool: ThreadPool | None = None
        self._process_id = 0

    def run(self, invocation: Invocation) -> Outcome:
        """Run a task to its end, or to its limit's."""
        loop, pool = self._started()
        return asyncio.run_coroutine_threadsafe(pool.run(invocation), loop).result()

    def close(self) -> None:
        """End the threads."""
        with self._lock:
            loop, pool = self._loop, self._pool
            self._loop = self._pool = None
        if loop is not None and pool is not None:
            asyncio.run_coroutine_threadsafe(pool.stop(), loop).result()
            loop.call_soon_threadsafe(loop.stop)

    def _started(self) -> tuple[asyncio.AbstractEventLoop, ThreadPool]:
        with self._lock:
            if self._loop is None or self._pool is None or self._process_id != os.getpid():
                self._loop = asyncio.new_event_loop()
                self._pool = ThreadPool(self._runtime.runner, MOST_REQUESTS)
                self._process_id = os.getpid()
                threading.Thread(target=_serve, args=(self._loop,), name="taskq-push-tasks", daemon=True).start()
            return self._loop, self._pool


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


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
    # "²" is a digit to Python, and no number; nor are some thousand digits.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_LENGTH_CHARACTERS else None


async def _read(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> bytes | None:
    """A request's body; None where its sender goes away first, or sends too much."""
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
    """A server tells that it starts and stops; there is nothing to do for either."""
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
