"""The resources of an application, opened when they are first used: settings, broker, stores, codec, connections."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from taskq_cloud.core.lazy import lazy
from taskq_cloud.errors import ImproperlyConfigured

if TYPE_CHECKING:
    from taskq_cloud.clients.async_connections import AsyncConnections
    from taskq_cloud.clients.connections import Connections
    from taskq_cloud.core.flows import Flow
    from taskq_cloud.core.messages.codec import Codec
    from taskq_cloud.core.messages.sending import Outbox
    from taskq_cloud.core.model.hooks import HookTable
    from taskq_cloud.core.model.priorities import PriorityLevels
    from taskq_cloud.core.payloads.policy import Payloads
    from taskq_cloud.core.ports import Broker, ResultStore, ScheduleStore, Service
    from taskq_cloud.core.records.replies import TakesReplies
    from taskq_cloud.runtime.open_transactions import OpenTransaction
    from taskq_cloud.settings import Settings

T = TypeVar("T")


class Resources:
    """The objects that an application's settings describe.

    Each is read, imported and opened when it is first used: declaring a task needs none of them. A wrong setting raises
    ``ImproperlyConfigured`` at that time.

    Args:
        settings: settings by name; they win over the environment.

    Attributes:
        hooks: the hooks of the application and of its tasks.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._given = dict(settings)
        self.hooks: HookTable = {}

    @lazy
    def conf(self) -> Settings:
        """The settings; read when they are first used."""
        from taskq_cloud.runtime.plain_settings import load_settings

        return cast("Settings", load_settings(self._given))  # the same attributes

    @lazy
    def broker(self) -> Broker:
        """The message broker."""
        from taskq_cloud.brokers.registry import broker_from_url

        return broker_from_url(self.conf.broker, self.conf.broker_transport_options)

    @lazy
    def store(self) -> ResultStore:
        """The result store. With a payload store, a record may be as large as a payload."""
        from taskq_cloud.stores.results.registry import store_from_url

        url, options = self.conf.results_url(), self.conf.result_backend_transport_options
        if _replies(url):
            options = {**self.conf.broker_transport_options, **options, "broker_url": self.conf.broker}
        store = store_from_url(url, options)
        compression = self.conf.result_compression if store.capabilities.durable else None
        if compression is not None:
            from taskq_cloud.core.payloads.compressed_results import CompressedResults  # few applications ask for it
            from taskq_cloud.core.serializers.compression import check_compression

            check_compression(compression)
            store = CompressedResults(store, compression)
        if self.payloads is None or not store.capabilities.remembers:
            return store
        from taskq_cloud.core.payloads.large_results import LargeResults  # few applications have a payload store

        return LargeResults(store, self.payloads, time.time, compression)

    @lazy
    def scheduler(self) -> ScheduleStore | None:
        """The store of schedules. None: a message due later than the broker can delay it is sent on in hops."""
        if self.conf.scheduler is None:
            return None
        from taskq_cloud.stores.schedules.registry import scheduler_from_url  # few applications have a scheduler

        return scheduler_from_url(self.conf.scheduler, {})

    @lazy
    def payloads(self) -> Payloads | None:
        """The policy of messages and results that are too large; None: they are refused."""
        if self.conf.payloads is None:
            return None
        from taskq_cloud.runtime.codec import payloads_from_settings

        return payloads_from_settings(self.conf)

    @lazy
    def codec(self) -> Codec:
        """The codec of messages, with the keys that the settings name."""
        from taskq_cloud.runtime.codec import codec_from_settings

        return codec_from_settings(self.conf, self.payloads)

    @property
    def outbox(self) -> Outbox:
        """The outbox through which messages leave: codec, broker and scheduler."""
        from taskq_cloud.core.messages.sending import Outbox

        within = self._within()
        broker = self.broker if within is None else within.broker
        replies = cast("TakesReplies", self.store) if _replies(self.conf.results_url()) else None
        return Outbox(self.codec, broker, self.scheduler, priorities=self.priorities, hooks=self.hooks, replies=replies)

    @lazy
    def priorities(self) -> PriorityLevels:
        """The levels of priority that queues have."""
        from taskq_cloud.core.model.settings_values import priority_levels

        return priority_levels(self.conf)

    def services(self) -> dict[str, Service]:
        """Return the clients that broker, stores and scheduler need, by name.

        Raises:
            ImproperlyConfigured: the result store and the payload store need one client with different options.
        """
        services = {**self.broker.services, **self.store.services}
        services |= self.scheduler.services if self.scheduler else {}
        for name, service in (self.payloads.store.services if self.payloads else {}).items():
            if services.setdefault(name, service) != service:
                raise ImproperlyConfigured(
                    f"TASKQ_RESULTS and TASKQ_PAYLOADS share one client of {name!r}: give both URLs the same options"
                )
        if self.conf.aws_lean_client:
            return services
        from taskq_cloud.clients.base import without_lean_driver

        return without_lean_driver(services)

    def run(self, flow: Flow[T]) -> T:
        """Drive a flow in the calling thread."""
        within = self._within()
        if within is not None:
            return within.run(flow)
        return self.connections.run(flow, self.conf.service_timeout)

    async def arun(self, flow: Flow[T]) -> T:
        """Drive a flow on the running event loop."""
        within = self._within()
        if within is not None:
            return await within.arun(flow)
        return await self.async_connections.run(flow, self.conf.service_timeout)

    def _within(self) -> OpenTransaction | None:
        """The transaction of the caller's own in which calls are sent now."""
        known = sys.modules.get("taskq_cloud.runtime.open_transactions")  # nobody has one before it is imported
        return None if known is None else known.transaction_of(self)

    def result_expires_at(self) -> float | None:
        """Return when a record that is written now expires, in seconds since the epoch; None: never."""
        expires = self.conf.policy(0).result_expires
        return None if expires is None else time.time() + expires

    def open(self) -> None:
        """Open the clients of broker and stores now: in a function that calls tasks, while Lambda initialises it.

        Raises:
            ImproperlyConfigured: a setting is wrong, or a package is missing.
            OperationalError: a client could not be opened.
        """
        self.connections.open()
        self.codec  # noqa: B018 - made now

    def close(self) -> None:
        """Close the connections of synchronous callers; the next call opens them again."""
        if "connections" in vars(self):  # unopened connections need no broker URL to be right
            self.connections.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        if "async_connections" in vars(self):
            await self.async_connections.close()

    @lazy
    def connections(self) -> Connections:
        """The connections of synchronous callers."""
        from taskq_cloud.clients.connections import Connections

        return Connections(self.services(), self.conf.service_timeout)

    @lazy
    def async_connections(self) -> AsyncConnections:
        """The connections of the running event loop's callers."""
        from taskq_cloud.clients.async_connections import AsyncConnections

        return AsyncConnections(self.services(), self.conf.service_timeout)


def _replies(results_url: str) -> bool:
    """Whether results are sent as replies, over a broker of RabbitMQ: then the store shares the broker's settings."""
    return results_url.startswith("rpc:") or results_url == "rpc"
