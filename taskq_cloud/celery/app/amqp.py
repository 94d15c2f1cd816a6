"""The messages of an application: its queues, its routes, and Celery's view of a task's message.

There is no AMQP here. The names are Celery's: `app.amqp.queues` are the declared queues, `app.amqp.router` finds the
options of a call, and `native_queue` the queue of the broker that its message goes to. Messages are written and sent by
the native application.
"""

from typing import Any

from taskq_cloud.celery.app import routes as _routes
from taskq_cloud.celery.app.queue_table import Queues, native_queue
from taskq_cloud.celery.app.task_messages import TaskMessages, task_message
from taskq_cloud.celery.exceptions import ImproperlyConfigured
from taskq_cloud.celery.messaging import Exchange, Queue
from taskq_cloud.celery.utils import cached_property

__all__ = ("AMQP", "Queues", "native_queue", "task_message")


class AMQP(TaskMessages):
    """The queues, the routes and the messages of an application: `app.amqp`.

    Args:
        app: The application.
    """

    queues_cls = Queues

    #: Makes the exchange of a queue that is declared when it is asked for, by the queue's name.
    autoexchange: Any = None

    #: The routers of `task_routes`, once they were asked for.
    _rtable: Any = None

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self.task_protocols = {1: self.as_task_v1, 2: self.as_task_v2}
        pending = app._conf  # settings that nobody has asked for yet stay unread
        (app.conf if pending is None else pending).bind_to(self._handle_conf_update)

    @cached_property
    def create_task_message(self) -> Any:
        """The function that makes a message in the protocol of the setting `task_protocol`."""
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
        """Read the setting `task_routes` again."""
        self._rtable = _routes.prepare(self.app.conf.task_routes)

    def TaskConsumer(self, *args: Any, **kwargs: Any) -> Any:
        """Raise an error: there is no channel that a consumer could read from.

        Raises:
            ImproperlyConfigured: Always.
        """
        raise ImproperlyConfigured(
            "TaskConsumer is not supported: there is no AMQP channel. A worker of taskq_cloud consumes tasks: run "
            "`taskq worker`, or deploy the application as a function"
        )

    @cached_property
    def default_queue(self) -> Any:
        """The declaration of the queue of the setting `task_default_queue`."""
        return self.queues[self.app.conf.task_default_queue]

    def _declared_queues(self) -> Any:
        return self.Queues(self.app.conf.task_queues)

    #: The declared queues by name; a list or a mapping can be assigned.
    queues = cached_property(_declared_queues, Queues)

    @property
    def routes(self) -> Any:
        """The routers of the setting `task_routes`."""
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
