"""Connections to the broker, for code that asks for them. The native application opens its own when it needs them."""

from __future__ import annotations

from typing import Any, Self

from taskq_cloud.core.urls import without_secrets


class Connection:
    """What Celery's code finds as a connection: its address, and whether the broker can be reached.

    Args:
        app: the application.
        url: the URL of the broker; None: the native application's.
        options: the arguments of Celery's constructor, of which only the address is used.
    """

    def __init__(self, app: Any, url: Any, options: dict[str, Any]) -> None:
        self.app = app
        self._url = url or options.get("hostname")
        self.transport_options = options.get("transport_options") or app.conf.broker_transport_options

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
    def transport_cls(self) -> str:
        """The scheme of the URL."""
        return self.url.partition(":")[0]

    @property
    def connected(self) -> bool:
        """Whether the connection can be used: it is opened when a message is sent."""
        return True

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
        return Connection(self.app, self._url, {})

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
