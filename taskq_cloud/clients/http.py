"""The client of stores that speak HTTP, by httpx: Elasticsearch, OpenSearch, CouchDB, ArangoDB and Riak.

A call's operation is the name of the request for errors and logs. Its parameters are

===========  ==========================================================================================
method       the method
path         the path, with its parts encoded
params       the query, as pairs of name and value; may be missing
json         the value of a JSON body; may be missing
lines        the values of a body of JSON lines, in place of ``json``
headers      further headers; may be missing
===========  ==========================================================================================

The answer is ``{"status", "headers", "body"}``, whose body is the decoded JSON, or the text if it isn't JSON. A status
over 299 is a ``CallError``. Its code is the one that the service's JSON says, or else ``HTTP <status>``.

Redirects are not followed, as they could lead the credentials elsewhere, and the client repeats nothing.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.request import getproxies

from taskq_cloud.clients.base import SDK, AsyncSDKClient, Operation, SDKClient, shortest
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import ImproperlyConfigured, MissingExtra

if TYPE_CHECKING:
    from taskq_cloud.core.servers.http import HTTPServer

try:
    import httpx
except ImportError as error:
    raise MissingExtra("The client of Elasticsearch, CouchDB, ArangoDB and Riak", "elasticsearch") from error

CONNECT_TIMEOUT_SECONDS: Final = 5.0
ANSWER_TIMEOUT_SECONDS: Final = 10.0

_MOST_CONNECTIONS: Final = 100
_SHOWN_CHARACTERS: Final = 300
_THROTTLED: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS})
_TRANSIENT: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})


def open_client(service: str, options: Mapping[str, Any]) -> HTTPClient:
    """Open a client of one server.

    Args:
        service: the service's name, for errors.
        options: ``server``, a ``core.servers.http.HTTPServer``.

    Raises:
        ImproperlyConfigured: the file of authorities can't be read, or the address isn't a URL.
    """
    return HTTPClient(_opened(service, options, httpx.Client))


async def open_async_client(service: str, options: Mapping[str, Any]) -> AsyncHTTPClient:
    """Open a client of one server for an event loop; see ``open_client``."""
    client = _opened(service, options, httpx.AsyncClient)
    return AsyncHTTPClient(client, client.aclose)


def _opened(service: str, options: Mapping[str, Any], kind: Any) -> Any:
    server: HTTPServer = options["server"]
    answer_seconds = shortest(ANSWER_TIMEOUT_SECONDS, options, parts=2)
    try:
        return kind(
            base_url=server.url,
            auth=httpx.BasicAuth(server.user, server.password) if server.user else None,
            headers={"Authorization": f"ApiKey {server.api_key}"} if server.api_key else {},
            verify=_tls(server),
            # Without this, the client looks for a ~/.netrc.
            trust_env=bool(getproxies()),
            follow_redirects=False,
            timeout=httpx.Timeout(answer_seconds, connect=shortest(CONNECT_TIMEOUT_SECONDS, options, parts=2)),
            limits=httpx.Limits(max_connections=_MOST_CONNECTIONS, max_keepalive_connections=_MOST_CONNECTIONS),
        )
    except (OSError, httpx.InvalidURL, UnicodeError) as error:
        raise ImproperlyConfigured(f"{service}: the client can't be opened: {error}") from error


def _tls(server: HTTPServer) -> ssl.SSLContext | bool:
    if not server.url.startswith("https:"):
        return False  # the authorities of the system take 20 ms to read
    context = ssl.create_default_context(cafile=server.ca_file or None)
    if not server.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _operation(client: Any, call: Call) -> Operation:
    given = call.parameters
    headers: dict[str, str] = {"Accept": "application/json", **given.get("headers", {})}
    content = None
    if "json" in given:
        content = _dumps(given["json"])
        headers["Content-Type"] = "application/json"
    elif "lines" in given:
        content = b"".join(_dumps(line) + b"\n" for line in given["lines"])
        headers["Content-Type"] = "application/x-ndjson"
    response = yield client.request(
        given["method"], given["path"], params=given.get("params"), headers=headers, content=content
    )
    body = _body(response)
    if response.status_code >= HTTPStatus.MULTIPLE_CHOICES:
        raise _refusal(call, response.status_code, body)
    return {"status": response.status_code, "headers": response.headers, "body": body}


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _body(response: Any) -> Any:
    if "json" in response.headers.get("Content-Type", ""):
        try:
            return json.loads(response.content)
        except ValueError:  # of a proxy, or broken off
            pass
    return response.text


def _refusal(call: Call, status: int, body: Any) -> CallError:
    code, message = _said(body)
    if status in _THROTTLED:
        trouble = Trouble.THROTTLED
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT:
        trouble = Trouble.TRANSIENT
    else:
        trouble = Trouble.REFUSED
    fallback = f"HTTP {status}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
        code, message = fallback, f"{code}: {message}" if code else message  # every service means the same by these
    return CallError(call, code or fallback, message[:_SHOWN_CHARACTERS], trouble, {"status": str(status)})


def _said(body: Any) -> tuple[str, str]:
    """The code and the message in an answer, in the forms of the services that this client knows."""
    match body:
        case {"errorNum": int(number), "errorMessage": message}:  # ArangoDB
            return str(number), str(message)
        case {"error": {"type": kind, **rest}}:  # Elasticsearch
            return str(kind), str(rest.get("reason") or "")
        case {"error": str(error), **rest}:  # CouchDB
            return error, str(rest.get("reason") or "")
    return "", str(body).strip()


def _call_error(call: Call, error: httpx.HTTPError) -> CallError:
    verified = not isinstance(_cause(error), ssl.SSLCertVerificationError)
    lost = isinstance(error, httpx.TimeoutException | httpx.NetworkError | httpx.RemoteProtocolError | httpx.ProxyError)
    trouble = Trouble.TRANSIENT if lost and verified else Trouble.REFUSED
    return CallError(call, type(error).__name__, str(error) or "no answer in time", trouble)


def _cause(error: BaseException) -> BaseException:
    """The first of the exceptions that led to another one."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error


_HTTPX: Final = SDK(operation=_operation, failures=(httpx.HTTPError,), call_error=_call_error)


class HTTPClient(SDKClient):
    """A client of one server. Threads may share it."""

    sdk = _HTTPX


class AsyncHTTPClient(AsyncSDKClient):
    """A client of one server, used on the event loop that opened it."""

    sdk = _HTTPX
