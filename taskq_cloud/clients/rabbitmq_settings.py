"""The settings of connections to RabbitMQ, read from the options of a service."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from taskq_cloud.clients.base import shortest
from taskq_cloud.core.lazy.values import dataclass, field
from taskq_cloud.core.urls import shown
from taskq_cloud.errors import ImproperlyConfigured

PORT: Final = 5672
TLS_PORT: Final = 5671
CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a connection to one server is made.

    Args:
        host: the server.
        port: its port.
        virtual_host: the virtual host.
        user: the name to log in with.
        password: the password.
        tls: the TLS context; None: without TLS.
        external: whether the client's certificate is the login (``EXTERNAL``).
        heartbeat: seconds between two signs of life; 0: none.
        connect_seconds: how long it may take to connect.
        answer_seconds: how long an answer may take.
        properties: what the server's management shows of the connection.
    """

    host: str
    port: int
    virtual_host: str
    user: str
    password: str = field(repr=False)
    tls: ssl.SSLContext | None = None
    external: bool = False
    heartbeat: int = 60
    connect_seconds: float = CONNECT_SECONDS
    answer_seconds: float = ANSWER_SECONDS
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The server and the virtual host, for errors."""
        return f"{self.host}:{self.port} (virtual host {self.virtual_host!r})"


def settings_of(options: Mapping[str, Any]) -> list[Settings]:
    """Make the settings of each server that a service may use.

    Args:
        options: ``urls``; and where given ``heartbeat``, ``connect_timeout``, ``external``, ``ssl`` (pairs of name and
            value), ``connection_name``.

    Raises:
        ImproperlyConfigured: a file of TLS can't be read.
    """
    return [_settings(url, options) for url in options["urls"]]


def _settings(url: str, options: Mapping[str, Any]) -> Settings:
    parts = urlsplit(url)
    tls = parts.scheme == "amqps" or bool(options.get("ssl"))
    path = unquote(parts.path.removeprefix("/"))
    name = options.get("connection_name")
    return Settings(
        host=parts.hostname or "localhost",
        port=parts.port or (TLS_PORT if tls else PORT),
        # As in Celery: amqp://host and amqp://host/ mean the virtual host "/", and so does amqp://host//.
        virtual_host=path or "/",
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        tls=_context(url, dict(options.get("ssl") or ())) if tls else None,
        external=bool(options.get("external")),
        heartbeat=int(options.get("heartbeat", 60)),
        connect_seconds=shortest(options.get("connect_timeout", CONNECT_SECONDS), options, parts=2),
        answer_seconds=shortest(ANSWER_SECONDS, options, parts=2),
        properties={"connection_name": name} if name else {},
    )


def _context(url: str, given: Mapping[str, Any]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=given.get("ca_certs"))
        if given.get("certfile"):
            context.load_cert_chain(given["certfile"], given.get("keyfile"), given.get("password"))
    except OSError as error:
        files = ", ".join(f"{name}={given[name]}" for name in ("ca_certs", "certfile", "keyfile") if given.get(name))
        raise ImproperlyConfigured(
            f"{shown(urlsplit(url))}: a file of the TLS options can't be read ({files}): {error}"
        ) from None
    if not given.get("verify", True):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
