"""Redis servers as data: their URLs, the service that a broker's and a store's calls need, and the errors of a server.

A URL is written as in Celery: ``redis://user:password@host:6379/0``, ``rediss://`` with TLS,
``redis+socket:///path?virtual_host=0`` for a Unix socket, and ``sentinel://host:26379`` with the option
``master_name``. Several URLs are servers of which one is used at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from taskq_cloud.core.flows import CallError, Trouble
from taskq_cloud.core.lazy.values import dataclass, field
from taskq_cloud.core.ports import Service
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import AccessDenied, ImproperlyConfigured, OperationalError, Unreachable

PORT: Final = 6379
SENTINEL_PORT: Final = 26379

TLS_OPTIONS: Final = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
"""The options of a ``rediss://`` URL, as Celery and redis-py name them."""

_CERTIFICATE_CHECKS: Final = {
    "required": "required", "cert_required": "required",
    "optional": "optional", "cert_optional": "optional",
    "none": "none", "cert_none": "none",
}  # fmt: skip

SERVICE_OPTIONS: Final = ("failover_strategy", "master_name", "sentinel_kwargs")
"""The options that ``redis_service`` reads."""

FAILOVER_STRATEGIES: Final = ("round-robin", "shuffle")

DENIED_CODES: Final = frozenset({"WRONGPASS", "NOAUTH", "NOPERM"})
"""The codes of a server that wants other credentials, or more permissions of the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """The address of one server, and what a connection to it begins with.

    Args:
        host: its host; empty for a Unix socket.
        port: its port.
        path: the path of its Unix socket; empty for a host.
        database: the number of the database.
        username: the user; None: the server's default user.
        password: the user's password; None: no password is sent.
        tls: the options of TLS by name, as pairs; None: the connection is not encrypted.
        sentinel: whether the address is of a sentinel, which knows the address of the primary.
    """

    host: str = ""
    port: int = PORT
    path: str = ""
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: tuple[tuple[str, str], ...] | None = None
    sentinel: bool = False

    def __str__(self) -> str:
        """The server's URL without its password."""
        user = f"{self.username}@" if self.username else ""
        if self.path:
            return f"redis+socket://{user}{self.path}?virtual_host={self.database}"
        scheme = "sentinel" if self.sentinel else "redis" if self.tls is None else "rediss"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{user}{host}:{self.port}/{self.database}"


def redis_server(url: str | SplitResult) -> RedisServer:
    """Read the URL of one server.

    Raises:
        ImproperlyConfigured: the URL has an unknown scheme or option, or a value that can't be read.
    """
    split = urlsplit(url) if isinstance(url, str) else url
    username = unquote(split.username) if split.username else None
    password = unquote(split.password) if split.password else None
    if split.scheme == "redis+socket":
        query = query_of(split, ("virtual_host",))
        database = _number(split, query.get("virtual_host", "0").strip("/") or "0")
        path = unquote(split.path)
        if not path or split.hostname:
            raise ImproperlyConfigured(f"{shown(split)} names no socket: write redis+socket:///path?virtual_host=0")
        return RedisServer(path=path, database=database, username=username, password=password)
    if split.scheme not in ("redis", "rediss", "sentinel"):
        raise ImproperlyConfigured(f"{shown(split)} isn't the URL of a Redis server")
    query = query_of(split, TLS_OPTIONS if split.scheme == "rediss" else ())
    return RedisServer(
        host=split.hostname or "localhost",
        port=_port(split) or (SENTINEL_PORT if split.scheme == "sentinel" else PORT),
        database=_number(split, split.path.strip("/") or "0"),
        tls=_tls(split, query) if split.scheme == "rediss" else None,
        sentinel=split.scheme == "sentinel",
        username=username,
        password=password,
    )


def redis_service(urls: Sequence[str | SplitResult], options: Mapping[str, Any]) -> tuple[str, Service]:
    """Return the service of one or more servers, and its name, which holds no password.

    Args:
        urls: the servers' URLs.
        options: ``broker_transport_options`` or the options of a store. Used are ``master_name`` and
            ``sentinel_kwargs`` (``username``, ``password``) for sentinels, and ``failover_strategy``.

    Raises:
        ImproperlyConfigured: a URL or an option is wrong.
    """
    servers = [redis_server(url) for url in urls]
    strategy = options.get("failover_strategy", FAILOVER_STRATEGIES[0])
    if strategy not in FAILOVER_STRATEGIES:
        known = " or ".join(map(repr, FAILOVER_STRATEGIES))
        raise ImproperlyConfigured(f"failover_strategy {strategy!r} is unknown: write {known}")
    more: list[tuple[str, Any]] = [("failover_strategy", strategy)]
    if any(server.sentinel for server in servers):
        more += _sentinel_options(servers, options)
    texts = tuple(url if isinstance(url, str) else url.geturl() for url in urls)
    name = f"redis:{';'.join(map(str, servers))}"
    return name, Service("redis", (("urls", texts), *more))


def _sentinel_options(servers: Iterable[RedisServer], options: Mapping[str, Any]) -> list[tuple[str, Any]]:
    if not all(server.sentinel for server in servers):
        raise ImproperlyConfigured("sentinel:// can't be mixed with other URLs: write the URLs of all sentinels alone")
    name = options.get("master_name")
    if not isinstance(name, str) or not name:
        raise ImproperlyConfigured(
            "sentinel:// needs the name that the sentinels have for the primary: set"
            " broker_transport_options = {'master_name': 'mymaster'} (result_backend_transport_options for results)"
        )
    login = options.get("sentinel_kwargs") or {}
    unknown = sorted(set(login) - {"username", "password"}) if isinstance(login, Mapping) else ["it"]
    if unknown:
        raise ImproperlyConfigured(f"sentinel_kwargs takes username and password; remove {unknown[0]!r}")
    found = [("master_name", name)]
    return found + [(f"sentinel_{key}", str(value)) for key, value in sorted(login.items())]


def redis_error(about: str, error: CallError) -> OperationalError:
    """Turn a failed call into the error that says whether waiting may help.

    A server without an answer, a full memory and a missing permission may pass, so a finished run waits for their end.

    Args:
        about: the queue or the store, for the text.
        error: the failed call. The client's message names the server and the remedy.
    """
    kind = OperationalError
    if error.trouble in (Trouble.TRANSIENT, Trouble.THROTTLED):
        kind = Unreachable
    elif error.code in DENIED_CODES:
        kind = AccessDenied
    return kind(f"{about}: {error.message}")


def _port(url: SplitResult) -> int | None:
    try:
        return url.port
    except ValueError as error:
        raise ImproperlyConfigured(f"{shown(url)}: the port can't be read: {error}") from None


def _number(url: SplitResult, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ImproperlyConfigured(f"{shown(url)}: the database is a number, such as redis://host:6379/0, not {text!r}")
    return int(text)


def _tls(url: SplitResult, query: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    checks = query.get("ssl_cert_reqs", "required")
    known = _CERTIFICATE_CHECKS.get(checks.lower())
    if known is None:
        raise ImproperlyConfigured(f"{shown(url)}: ssl_cert_reqs is required, optional or none, not {checks!r}")
    hostname = query.get("ssl_check_hostname", "true").lower()
    if hostname not in ("true", "false"):
        raise ImproperlyConfigured(f"{shown(url)}: ssl_check_hostname is true or false, not {hostname!r}")
    return tuple(sorted({**query, "ssl_cert_reqs": known, "ssl_check_hostname": hostname}.items()))
