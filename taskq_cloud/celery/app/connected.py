"""The connections of an application (``Connected``): see ``connections`` for what they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Connected:
    """The part of an application that makes connections to the broker."""

    conf: Any
    amqp: Any
    _connections: Any = None

    def connection(
        self,
        hostname: Any = None,
        userid: str | None = None,
        password: str | None = None,
        virtual_host: str | None = None,
        port: int | None = None,
        ssl: Any = None,
        connect_timeout: float | None = None,
        transport: str | None = None,
        transport_options: Any = None,
        heartbeat: float | None = None,
        login_method: str | None = None,
        failover_strategy: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Return the connection to the broker. What isn't given is that of the settings.

        Args:
            hostname: the URL, or the host.
            userid: the user.
            password: the user's password.
            virtual_host: the virtual host.
            port: the port.
            ssl: whether, or how, the connection is encrypted.
            connect_timeout: how long connecting may take, in seconds.
            transport: the kind of broker, as the scheme of its URL.
            transport_options: further options of the broker.
            heartbeat: seconds between heartbeats.
            login_method: how the user logs in.
            failover_strategy: in which order several brokers are tried.
            kwargs: have no effect.
        """
        from taskq_cloud.celery.app.connections import Connection  # few callers look at connections

        conf = self.conf
        options = {
            "userid": userid or conf.broker_user,
            "password": password or conf.broker_password,
            "virtual_host": virtual_host or conf.broker_vhost,
            "port": port or conf.broker_port,
            "ssl": conf.broker_use_ssl if ssl is None else ssl,
            "connect_timeout": conf.broker_connection_timeout if connect_timeout is None else connect_timeout,
            "transport": transport or conf.broker_transport,
            "transport_options": {**(conf.broker_transport_options or {}), **(transport_options or {})},
            "heartbeat": heartbeat,
            "login_method": login_method or conf.broker_login_method,
            "failover_strategy": failover_strategy or conf.broker_failover_strategy,
        }
        return Connection(self, _joined(hostname or conf.broker_url), options)

    def connection_for_read(self, url: Any = None, **kwargs: Any) -> Any:
        """Return the connection by which messages are received."""
        return self.connection(url or self.conf.broker_read_url, **kwargs)

    def connection_for_write(self, url: Any = None, **kwargs: Any) -> Any:
        """Return the connection by which messages are sent."""
        return self.connection(url or self.conf.broker_write_url, **kwargs)

    broker_connection = connection

    @contextmanager
    def connection_or_acquire(self, connection: Any = None, pool: bool = True, *_: Any, **__: Any) -> Iterator[Any]:
        """Give the connection for a ``with`` statement: the given one, or the application's."""
        yield connection or self.connection_for_write()

    default_connection = connection_or_acquire

    @contextmanager
    def producer_or_acquire(self, producer: Any = None) -> Iterator[Any]:
        """Give the object that sends messages for a ``with`` statement: the given one, or the application's."""
        yield producer or self.amqp.Producer(self.connection_for_write())

    default_producer = producer_or_acquire

    @property
    def pool(self) -> Any:
        """The pool of connections, which the native application has itself."""
        if self._connections is None:
            from taskq_cloud.celery.app.connections import Pool  # few callers look at connections

            self._connections = Pool(self)
        return self._connections

    @property
    def producer_pool(self) -> Any:
        """The pool of producers."""
        return self.amqp.producer_pool


def _joined(url: Any) -> Any:
    return ";".join(url) if isinstance(url, list | tuple) else url
