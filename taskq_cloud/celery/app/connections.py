"""Connections to the broker, for code that asks for them. The native application opens its own when it needs them."""

from __future__ import annotations

from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

from taskq_cloud.core.urls import without_secrets

_AMQP: Final = {"userid": "guest", "password": "guest", "port": 5672, "login_method": "PLAIN"}
"""What the address of an AMQP broker leaves out."""
_NO_HOST: Final = frozenset({"sqs"})
"""Brokers that have no host, not even this one."""
_DEFAULT_URL: Final = "amqp://"


class Connection:
    """What Celery's code finds as a connection: its address, and whether the broker can be reached.

    Args:
        app: the application.
        url: the URL of the broker, or several with semicolons between them; None: the native application's.
        options: the other arguments of ``Celery.connection``: they replace parts of the URL.

    Attributes:
        hostname: the host.
        userid: the user.
        password: the user's password.
        virtual_host: the virtual host, which is the URL's path.
        port: the port.
        ssl: whether, or how, the connection is encrypted.
        connect_timeout: how long connecting may take, in seconds.
        transport_options: the setting ``broker_transport_options``, with those of the call.
    """

    def __init__(self, app: Any, url: str | None, options: dict[str, Any]) -> None:
        self.app = app
        self._url, self._options = url, options
        urls = str(url or _DEFAULT_URL).split(";")
        self.alternates = urls if len(urls) > 1 else []
        parts = urlsplit(urls[0] if "://" in urls[0] else f"{_DEFAULT_URL}{urls[0]}")
        is_amqp = parts.scheme in ("amqp", "pyamqp", "amqps")
        known: dict[str, Any] = _AMQP if is_amqp else {}
        scheme = str(options.get("transport") or parts.scheme)
        self.transport_cls = scheme
        self.hostname = _text(parts.hostname) or (None if scheme in _NO_HOST else "localhost")
        self.userid = options.get("userid") or _text(parts.username) or known.get("userid")
        self.password = options.get("password") or _text(parts.password) or known.get("password")
        self.virtual_host = options.get("virtual_host") or unquote(parts.path[1:]) or "/"
        self.ssl = options.get("ssl") or False
        self.port = options.get("port") or parts.port or (5671 if is_amqp and self.ssl else known.get("port"))
        self.connect_timeout = options.get("connect_timeout")
        self.login_method = options.get("login_method") or known.get("login_method")
        self.heartbeat = None if options.get("heartbeat") is None else float(options["heartbeat"])
        self.failover_strategy = options.get("failover_strategy")
        self.transport_options = options.get("transport_options") or {}

    def __repr__(self) -> str:
        return f"<Connection: {self.as_uri()}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    @property
    def url(self) -> str:
        """The URL of the broker."""
        return str(self._url or self.app.native.conf.broker)

    @property
    def host(self) -> str:
        """The host and its port."""
        return f"{self.hostname}:{self.port}"

    @property
    def connected(self) -> bool:
        """Whether the connection can be used: it is opened when a message is sent."""
        return True

    def info(self) -> dict[str, Any]:
        """The parts of the address, and the options."""
        return {
            "hostname": self.hostname,
            "userid": self.userid,
            "password": self.password,
            "virtual_host": self.virtual_host,
            "port": self.port,
            "insist": False,
            "ssl": self.ssl,
            "transport": "amqp" if self.transport_cls == "pyamqp" else self.transport_cls,
            "connect_timeout": self.connect_timeout,
            "transport_options": self.transport_options,
            "login_method": self.login_method,
            "uri_prefix": None,
            "heartbeat": self.heartbeat,
            "failover_strategy": self.failover_strategy,
            "alternates": self.alternates,
            "credential_provider": None,
        }

    def as_uri(self, include_password: bool = False, **_: Any) -> str:
        """The URL of the broker, by default without its password."""
        return self.url if include_password else without_secrets(self.url)

    def ensure_connection(self, *_: Any, **__: Any) -> Self:
        """Open the connection now.

        Raises:
            OperationalError: the broker can't be reached.
        """
        self.app.native.open()
        return self

    connect = ensure_connection

    def clone(self, **_: Any) -> Connection:
        """Return another connection with the same address."""
        return Connection(self.app, self._url, self._options)

    def release(self) -> None:
        """Do nothing: the native application keeps its connections, and closes them with ``app.close()``."""

    close = release


class Pool:
    """A pool of connections.

    Args:
        app: the application.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    @property
    def limit(self) -> Any:
        """The setting ``broker_pool_limit``, which has no effect: connections are the native application's."""
        return self.app.conf.broker_pool_limit

    def acquire(self, block: bool = False, timeout: float | None = None) -> Connection:
        """Return a connection."""
        connection: Connection = self.app.connection_for_write()
        return connection

    def force_close_all(self) -> None:
        """Close the native application's connections."""
        self.app.native.close()


def _text(part: str | None) -> str | None:
    return unquote(part) if part else None
