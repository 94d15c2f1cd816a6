"""The messages of an application: its queues, its routes, and Celery's view of a task's message.

The names are Celery's, and no object here is a channel of AMQP, whatever the broker: ``app.amqp.queues`` are the
declared queues, ``app.amqp.router`` finds the options of a call, and ``native_queue`` finds the queue of the broker
that its message goes to. The native application writes and sends messages.
"""

from collections.abc import Mapping
from typing import Any

from taskq_cloud.celery.app import routes as _routes
from taskq_cloud.celery.app.queue_table import QUEUE_FORMAT, Queues, native_queue
from taskq_cloud.celery.app.task_messages import INT_MIN, TaskMessages, task_message
from taskq_cloud.celery.exceptions import ImproperlyConfigured
from taskq_cloud.celery.messaging import Exchange, Queue
from taskq_cloud.celery.utils import cached_property

__all__ = ("AMQP", "INT_MIN", "QUEUE_FORMAT", "Queues", "native_queue", "task_message", "utf8dict")


def utf8dict(d: Mapping[Any, Any], encoding: str = "utf-8") -> dict[Any, Any]:
    """Return a mapping with text for the keys that are bytes."""
    return {key.decode(encoding) if isinstance(key, bytes) else key: value for key, value in d.items()}


class AMQP(TaskMessages):
    """The queues, the routes and the messages of an application: ``app.amqp``.

    Args:
        app: the application.
    """

    queues_cls = Queues

    #: Makes the exchange of a queue that is declared when it is asked for, by the queue's name.
    autoexchange: Any = None

    #: The routers of ``task_routes``, once they were asked for.
    _rtable: Any = None

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self.task_protocols = {1: self.as_task_v1, 2: self.as_task_v2}
        pending = app._conf  # settings that nobody has asked for yet stay unread
        (app.conf if pending is None else pending).bind_to(self._handle_conf_update)

    @cached_property
    def create_task_message(self) -> Any:
        """The function that makes a message in the protocol of the setting ``task_protocol``."""
        return self.task_protocols[self.app.conf.task_protocol]

    def Queues(
        self,
        queues: Any,
        create_missing: Any = None,
        create_missing_queue_type: Any = None,
        create_missing_queue_exchange_type: Any = None,
        autoexchange: Any = None,
        max_priority: Any = None,
    ) -> Any:
        """Return a table of these queues with the settings' defaults; without queues, it has the default queue."""
        conf = self.app.conf

        def setting(value: Any, name: str) -> Any:
            return getattr(conf, name) if value is None else value

        if not queues and conf.task_default_queue:
            quorum = {"x-queue-type": "quorum"} if conf.task_default_queue_type == "quorum" else None
            default = Queue(
                conf.task_default_queue,
                exchange=self.default_exchange,
                routing_key=conf.task_default_routing_key,
                queue_arguments=quorum,
            )
            queues = (default,)
        return self.queues_cls(
            queues,
            default_exchange=self.default_exchange,
            create_missing=setting(create_missing, "task_create_missing_queues"),
            create_missing_queue_type=setting(create_missing_queue_type, "task_create_missing_queue_type"),
            create_missing_queue_exchange_type=setting(
                create_missing_queue_exchange_type, "task_create_missing_queue_exchange_type"
            ),
            autoexchange=self.autoexchange if autoexchange is None else autoexchange,
            max_priority=setting(max_priority, "task_queue_max_priority"),
            default_routing_key=conf.task_default_routing_key,
        )

    def Router(self, queues: Any = None, create_missing: Any = None) -> _routes.Router:
        """Return a router by the settings as they are now."""
        create_missing = self.app.either("task_create_missing_queues", create_missing)
        return _routes.Router(self.routes, queues or self.queues, create_missing, app=self.app)

    def flush_routes(self) -> None:
        """Read the setting ``task_routes`` again."""
        self._rtable = _routes.prepare(self.app.conf.task_routes)

    def _create_task_sender(self) -> Any:
        return self.send_task_message

    def send_task_message(
        self,
        producer: Any,
        name: str,
        message: Any,
        exchange: Any = None,
        routing_key: Any = None,
        queue: Any = None,
        event_dispatcher: Any = None,
        retry: bool | None = None,
        retry_policy: Mapping[str, Any] | None = None,
        serializer: str | None = None,
        delivery_mode: Any = None,
        compression: str | None = None,
        declare: Any = None,
        headers: Mapping[str, Any] | None = None,
        exchange_type: str | None = None,
        timeout: float | None = None,
        confirm_timeout: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Publish a message that ``create_task_message`` has made: see ``taskq_cloud.celery.app.producers``.

        Args and their defaults are those of ``Task.apply_async`` and of the settings. ``kwargs`` are more properties of
        the message. The event ``task-sent`` is given to ``event_dispatcher``, if there is one.
        """
        from taskq_cloud.celery.app.producers import Destination, send_signals_and_publish  # few programs publish

        conf = self.app.conf
        message.headers.update(headers or {})
        message.properties.update(kwargs)
        to = Destination(self, queue, exchange, routing_key, exchange_type)
        options = {
            "serializer": serializer or conf.task_serializer,
            "compression": compression or conf.task_compression,
            "retry": conf.task_publish_retry if retry is None else retry,
            "retry_policy": {**conf.task_publish_retry_policy, **(retry_policy or {})},
            "delivery_mode": to.delivery_mode if delivery_mode is None else delivery_mode,
            "timeout": timeout,
            "confirm_timeout": confirm_timeout,
        }
        declared = to.declarations if declare is None else declare
        published = send_signals_and_publish(producer, name, message, to, declared, options)
        if message.sent_event and event_dispatcher is not None:
            exchange_name = getattr(to.exchange, "name", to.exchange)
            event = {"queue": to.queue_name, "exchange": exchange_name, "routing_key": to.routing_key}
            message.sent_event.update(event)
            retried = {name: options[name] for name in ("retry", "retry_policy")}
            event_dispatcher.publish("task-sent", message.sent_event, producer, **retried)
        return published

    @property
    def Producer(self) -> Any:
        """The class of producers."""
        from taskq_cloud.celery.app.producers import Producer  # few programs publish

        return Producer

    @property
    def Connection(self) -> Any:
        """Makes a connection to the broker, by its URL."""
        return self.app.connection

    BrokerConnection = Connection

    @cached_property
    def producer_pool(self) -> Any:
        """The pool of producers."""
        from taskq_cloud.celery.app.producers import ProducerPool  # few programs publish

        return ProducerPool(self.app)

    @property
    def publisher_pool(self) -> Any:
        """The pool of producers, by its name in Celery 3."""
        return self.producer_pool

    def Consumer(self, *args: Any, **kwargs: Any) -> Any:
        """Raise an error, as ``TaskConsumer`` does.

        Raises:
            ImproperlyConfigured: always.
        """
        return self.TaskConsumer(*args, **kwargs)

    def TaskConsumer(self, channel: Any, queues: Any = None, accept: Any = None, **kw: Any) -> Any:
        """Raise an error: there is no channel that a consumer could read from.

        Raises:
            ImproperlyConfigured: always.
        """
        raise ImproperlyConfigured(
            "TaskConsumer is not supported: there is no channel of kombu. A worker of taskq_cloud consumes tasks: run "
            "`taskq worker`, or deploy the application as a function"
        )

    @cached_property
    def default_queue(self) -> Any:
        """The declaration of the queue of the setting ``task_default_queue``."""
        return self.queues[self.app.conf.task_default_queue]

    def _declared_queues(self) -> Any:
        return self.Queues(self.app.conf.task_queues)

    #: The declared queues by name; a list or a mapping can be assigned.
    queues = cached_property(_declared_queues, Queues)

    @property
    def routes(self) -> Any:
        """The routers of the setting ``task_routes``."""
        if self._rtable is None:
            self.flush_routes()
        return self._rtable

    @cached_property
    def router(self) -> Any:
        """The router of this application's calls."""
        return self.Router()

    @cached_property
    def default_exchange(self) -> Exchange:
        """The exchange of the queues that are declared without one."""
        return Exchange(self.app.conf.task_default_exchange, self.app.conf.task_default_exchange_type)

    def _handle_conf_update(self, *args: Any, **kwargs: Any) -> None:
        """Make a new router if an update of the settings has routes."""
        changed = {*kwargs, *(args[0] if args else ())}
        if changed & set(self.app.conf._to_keys("task_routes")):
            self.flush_routes()
            self.router = self.Router()
