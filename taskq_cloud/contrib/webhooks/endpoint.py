"""An HTTP endpoint that calls tasks, for services that can't speak to the broker. It is an ASGI application.

=========================  ============================================================================================
``POST /tasks/<name>``     calls a task; the body is JSON: ``{"args": [...], "kwargs": {...}, "countdown": 10}``. The
                           answer is 202 with ``{"id": "...", "task": "..."}``
``GET /tasks/<id>``        the task's state, and its result or error: ``{"id": ..., "state": "SUCCESS", "result": 5}``
=========================  ============================================================================================

A request has a bearer token (RFC 6750), or a signature by the Standard Webhooks specification. A signed request has an
id, from which the task's id is made: the same request sent twice is one piece of work.
"""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import unquote
from uuid import NAMESPACE_URL, uuid5

from taskq_cloud.contrib.webhooks.requests import signer
from taskq_cloud.errors import EncodeError, ImproperlyConfigured, OperationalError, OptionError

if TYPE_CHECKING:
    from taskq_cloud.app import TaskQ
    from taskq_cloud.results.async_result import AsyncResult

logger = logging.getLogger("taskq_cloud.webhooks")

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

OPTIONS: Final = ("countdown", "eta", "expires", "priority", "queue", "task_id")
"""The options of a call that a request may have, beside ``args`` and ``kwargs``."""
FEWEST_SECRET_CHARACTERS: Final = 16
_PATH: Final = "/tasks/"


class _Refusal(Exception):
    """A request that is answered by an error.

    Args:
        status: the answer's status.
        error: a sentence that says what is wrong.
        headers: further headers of the answer.
    """

    def __init__(self, status: HTTPStatus, error: str, **headers: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.headers = headers


class TaskEndpoint:
    """The endpoint as an ASGI 3 application: ``uvicorn shop.endpoint:endpoint``, or ``web.mount("/queue", endpoint)``.

    Args:
        app: the application.
        tasks: the names of the tasks that may be called, or patterns with ``*``: ``["shop.orders.*"]``. They need not
            be registered here.
        tokens: the bearer tokens that are accepted: several, so that one can be replaced by another.
        secrets: the secrets of signatures that are accepted: ``whsec_`` and Base64.
        results: whether results can be read.
        most_bytes: the largest request.

    Raises:
        ImproperlyConfigured: there is neither a token nor a secret, one is too short, or a package is missing.
    """

    def __init__(
        self,
        app: TaskQ,
        *,
        tasks: Collection[str],
        tokens: Collection[str] = (),
        secrets: Collection[str] = (),
        results: bool = True,
        most_bytes: int = 256 * 1024,
    ) -> None:
        given = {"tasks": tasks, "tokens": tokens, "secrets": secrets}
        wrong = next((name for name, value in given.items() if isinstance(value, str)), None)
        if wrong or not tasks:
            raise ImproperlyConfigured(f"{wrong or 'tasks'} must be a list of texts with at least one")
        if not tokens and not secrets:
            raise ImproperlyConfigured(
                "an endpoint without tokens and secrets would let anybody call tasks: give it tokens=[...] or "
                "secrets=[...], for example from an environment variable"
            )
        if any(len(each) < FEWEST_SECRET_CHARACTERS for each in (*tokens, *secrets)):
            raise ImproperlyConfigured(
                f"a token or secret has fewer than {FEWEST_SECRET_CHARACTERS} characters: make one with "
                'python -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
        self._app = app
        self._tasks = tuple(tasks)
        self._tokens = tuple(token.encode() for token in tokens)
        self._signers = [signer(secret) for secret in secrets]
        self._results = results
        self._most_bytes = most_bytes

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request.

        Raises:
            ValueError: the protocol isn't HTTP.
        """
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"the endpoint serves HTTP only, and not {scope['type']}")
        try:
            status, answer, more = *await self._answer(scope, receive), dict[str, str]()
        except _Refusal as refusal:
            status, answer, more = refusal.status, {"error": refusal.error}, refusal.headers
        content = json.dumps(answer, ensure_ascii=False, default=repr).encode()
        headers = {"content-type": "application/json", "content-length": str(len(content)), "cache-control": "no-store"}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status.value, "headers": raw})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, scope: Mapping[str, Any], receive: Receive) -> tuple[HTTPStatus, dict[str, Any]]:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = await self._read(receive)
        request_id = self._authenticate(headers, body)
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        name = unquote(path.removeprefix(_PATH))
        if not path.startswith(_PATH) or not name:
            raise _Refusal(HTTPStatus.NOT_FOUND, f"there is {_PATH}<name> to call a task, and {_PATH}<id> to read it")
        match scope["method"]:
            case "POST":
                return HTTPStatus.ACCEPTED, await self._call(name, body, request_id)
            case "GET" if self._results:
                return HTTPStatus.OK, await self._read_task(name)
            case method:
                allowed = "GET, POST" if self._results else "POST"
                raise _Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not supported", allow=allowed)

    def _authenticate(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Return the id of a signed request; None: the request has a token."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if any(hmac.compare_digest(token.strip().encode(), each) for each in self._tokens):
                return None
        elif "webhook-signature" in headers and any(_verifies(each, headers, body) for each in self._signers):
            return headers["webhook-id"]
        raise _Refusal(
            HTTPStatus.UNAUTHORIZED,
            "the request has no valid token or signature: send Authorization: Bearer <token>, or the headers "
            "webhook-id, webhook-timestamp (within 5 minutes) and webhook-signature",
            www_authenticate="Bearer",
        )

    async def _call(self, name: str, body: bytes, request_id: str | None) -> dict[str, Any]:
        if not any(fnmatchcase(name, pattern) for pattern in self._tasks):
            raise _Refusal(HTTPStatus.NOT_FOUND, f"the task {name!r:.200} can't be called here")
        args, kwargs, options = _arguments(body)
        if request_id is not None:
            options.setdefault("task_id", str(uuid5(NAMESPACE_URL, f"{name}/{request_id}")))
        try:
            known = self._app.tasks.get(name)
            result: AsyncResult[Any] = await (
                self._app.asend_task(name, args, kwargs, **options)
                if known is None
                else known.aapply_async(args, kwargs, **options)
            )
        except OperationalError as error:
            logger.warning("a call of %s over HTTP was not sent: %s", name, error, extra={"action": "webhooks.unsent"})
            raise _Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the task was not sent, as the broker refused it or gave no answer",
                retry_after="5",
            ) from error
        except (TypeError, OptionError, EncodeError) as error:
            raise _Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        return {"id": result.id, "task": name}

    async def _read_task(self, task_id: str) -> dict[str, Any]:
        try:
            found = await self._app.AsyncResult(task_id).aload()
        except OperationalError as error:
            logger.warning("the result %s was not read: %s", task_id, error, extra={"action": "webhooks.unread"})
            raise _Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE, "the result store gave no answer", retry_after="5"
            ) from error
        answer: dict[str, Any] = {"id": task_id, "state": found.state}
        if found.state == "SUCCESS":
            answer["result"] = found.result
        elif isinstance(found.result, BaseException):
            answer["error"] = {"type": type(found.result).__name__, "message": str(found.result)}
        return answer

    async def _read(self, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise _Refusal(HTTPStatus.BAD_REQUEST, "the request is incomplete")
            body += event.get("body", b"")
            if len(body) > self._most_bytes:
                raise _Refusal(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the request has more than {self._most_bytes} bytes"
                )
            if not event.get("more_body"):
                return bytes(body)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            event = await receive()
            if event["type"] == "lifespan.shutdown":
                await self._app.aclose()
            await send({"type": f"{event['type']}.complete"})
            if event["type"] == "lifespan.shutdown":
                return


def _verifies(webhook: Any, headers: Mapping[str, str], body: bytes) -> bool:
    from standardwebhooks.webhooks import WebhookVerificationError

    try:
        webhook.verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, ValueError):  # a malformed header, or a body that isn't UTF-8
        return False
    return True


def _arguments(body: bytes) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Read the positional arguments, the keyword arguments and the options of a call."""
    try:
        document = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise _Refusal(HTTPStatus.BAD_REQUEST, f"the body isn't JSON: {error}") from error
    if not isinstance(document, dict):
        raise _Refusal(HTTPStatus.BAD_REQUEST, 'the body must be an object such as {"args": [1, 2], "kwargs": {}}')
    options = dict(document)
    args, kwargs = options.pop("args", None) or [], options.pop("kwargs", None) or {}
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise _Refusal(HTTPStatus.BAD_REQUEST, "args must be a list, and kwargs an object")
    unknown = sorted(options.keys() - set(OPTIONS))
    if unknown:
        raise _Refusal(
            HTTPStatus.BAD_REQUEST, f"unknown: {', '.join(unknown)[:200]}; known: args, kwargs, {', '.join(OPTIONS)}"
        )
    return args, kwargs, options
