"""Remote control of workers: ``app.control``.

Each method makes a command with Celery's name and arguments, and hands it to ``broadcast``. The module
``taskq_cloud.celery.app.mailbox`` says what becomes of a command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from taskq_cloud.celery.app.inspecting import Inspect, flatten_reply
from taskq_cloud.celery.app.mailbox import Mailbox
from taskq_cloud.celery.exceptions import ImproperlyConfigured
from taskq_cloud.celery.utils import cached_property
from taskq_cloud.celery.utils.functional import lazy
from taskq_cloud.celery.utils.log import get_logger

__all__ = ("Control", "Inspect", "flatten_reply")

logger = get_logger(__name__)

TERM_SIGNAME: Final = "SIGTERM"


def _after_fork_cleanup_control(control: Any) -> None:
    """Forget the producers of the parent process."""
    try:
        control._after_fork()
    except Exception as error:
        logger.info("after fork raised exception: %r", error, exc_info=True)


class Control:
    """Commands about tasks, queues and workers. Each method takes further arguments of ``broadcast``.

    Args:
        app: the application.

    Raises:
        ImproperlyConfigured: the settings ask for queues that are both durable and exclusive.
    """

    Mailbox = Mailbox

    def __init__(self, app: Any = None) -> None:
        self.app = app
        conf = app.conf
        if conf.control_queue_durable and conf.control_queue_exclusive:
            raise ImproperlyConfigured(
                "control_queue_durable and control_queue_exclusive cannot both be True "
                "(exclusive queues are automatically deleted and cannot be durable)."
            )
        self.mailbox = self.Mailbox(
            conf.control_exchange,
            type="fanout",
            accept=conf.accept_content,
            serializer=conf.task_serializer,
            producer_pool=lazy(lambda: self.app.amqp.producer_pool),
            queue_ttl=conf.control_queue_ttl,
            reply_queue_ttl=conf.control_queue_ttl,
            queue_expires=conf.control_queue_expires,
            queue_exclusive=conf.control_queue_exclusive,
            queue_durable=conf.control_queue_durable,
            reply_queue_expires=conf.control_queue_expires,
        )
        self.mailbox.app = app

    def _after_fork(self) -> None:
        del self.mailbox.producer_pool

    @cached_property
    def inspect(self) -> Any:
        """The class of questions to workers: see ``Inspect``."""
        return self.app.subclass_with_self(Inspect, reverse="control.inspect")

    def purge(self, connection: Any = None) -> int:
        """Delete all messages of the queues that a worker serves, and return their number, as far as it is known."""
        from taskq_cloud.celery.native.purging import purge  # few processes purge queues

        return purge(self.app, sorted(self.app.amqp.queues.consume_from))

    discard_all = purge

    def election(self, id: str, topic: str, action: Any = None, connection: Any = None) -> None:
        """Let workers choose one among them, which acts.

        Args:
            id: the id of the election.
            topic: what it is about.
            action: what the chosen worker does.
            connection: the connection to the broker.
        """
        arguments = {"id": id, "topic": topic, "action": action}
        self.broadcast("election", connection=connection, destination=None, arguments=arguments)

    def revoke(
        self, task_id: Any, destination: Any = None, terminate: bool = False, signal: Any = TERM_SIGNAME, **kwargs: Any
    ) -> Any:
        """Record tasks as revoked, so that no worker runs them.

        Args:
            task_id: the id, or several.
            destination: has no effect: the record counts for all workers.
            terminate: also end the tasks if they run.
            signal: the signal that ends them.
            kwargs: further arguments of ``broadcast``.

        Raises:
            NotImplementedError: ``terminate`` is set: a running task can't be ended yet.
        """
        arguments = {"task_id": task_id, "terminate": terminate, "signal": signal}
        return self.broadcast("revoke", destination=destination, arguments=arguments, **kwargs)

    def revoke_by_stamped_headers(
        self, headers: Any, destination: Any = None, terminate: bool = False, signal: Any = TERM_SIGNAME, **kwargs: Any
    ) -> Any:
        """Revoke all tasks with certain stamps.

        Args:
            headers: the stamps: a value or a list of values for each name.
            destination: the names of the workers; None: all.
            terminate: also end the tasks if they run.
            signal: the signal that ends them.
            kwargs: further arguments of ``broadcast``.
        """
        arguments = {"headers": headers, "terminate": terminate, "signal": signal}
        result = self.broadcast("revoke_by_stamped_headers", destination=destination, arguments=arguments, **kwargs)
        found = [reply["ok"] for replies in result or () for reply in replies.values()]
        ids = {each for some in found if isinstance(some, set) for each in some}
        if not ids:
            return result
        return self.revoke(list(ids), destination=destination, terminate=terminate, signal=signal, **kwargs)

    def terminate(self, task_id: Any, destination: Any = None, signal: Any = TERM_SIGNAME, **kwargs: Any) -> Any:
        """Revoke tasks, and end them if they run: ``revoke`` with ``terminate=True``."""
        return self.revoke(task_id, destination=destination, terminate=True, signal=signal, **kwargs)

    def ping(self, destination: Any = None, timeout: float = 1.0, **kwargs: Any) -> Any:
        """Return ``{name: {"ok": "pong"}}`` of each worker, as a list."""
        return self.broadcast("ping", reply=True, arguments={}, destination=destination, timeout=timeout, **kwargs)

    def rate_limit(self, task_name: str, rate_limit: Any, destination: Any = None, **kwargs: Any) -> Any:
        """Set the rate limit of a task, such as ``100/m``."""
        arguments = {"task_name": task_name, "rate_limit": rate_limit}
        return self.broadcast("rate_limit", destination=destination, arguments=arguments, **kwargs)

    def add_consumer(
        self,
        queue: str,
        exchange: str | None = None,
        exchange_type: str = "direct",
        routing_key: str | None = None,
        options: dict[str, Any] | None = None,
        destination: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Let workers serve one more queue.

        Args:
            queue: the queue's name.
            exchange: the name of its exchange; None: the queue's.
            exchange_type: the type of the exchange.
            routing_key: the routing key; None: the queue's name.
            options: more attributes of the queue.
            destination: the names of the workers; None: all.
            kwargs: further arguments of ``broadcast``.
        """
        about = {"queue": queue, "exchange": exchange, "exchange_type": exchange_type, "routing_key": routing_key}
        return self.broadcast("add_consumer", destination=destination, arguments={**about, **(options or {})}, **kwargs)

    def cancel_consumer(self, queue: str, destination: Any = None, **kwargs: Any) -> Any:
        """Let workers serve a queue no more."""
        return self.broadcast("cancel_consumer", destination=destination, arguments={"queue": queue}, **kwargs)

    def time_limit(
        self,
        task_name: str,
        soft: float | None = None,
        hard: float | None = None,
        destination: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Set the time limits of a task, in seconds."""
        arguments = {"task_name": task_name, "hard": hard, "soft": soft}
        return self.broadcast("time_limit", arguments=arguments, destination=destination, **kwargs)

    def enable_events(self, destination: Any = None, **kwargs: Any) -> Any:
        """Let workers send events of tasks."""
        return self.broadcast("enable_events", arguments={}, destination=destination, **kwargs)

    def disable_events(self, destination: Any = None, **kwargs: Any) -> Any:
        """Let workers send no events of tasks."""
        return self.broadcast("disable_events", arguments={}, destination=destination, **kwargs)

    def pool_grow(self, n: int = 1, destination: Any = None, **kwargs: Any) -> Any:
        """Let workers run more tasks at a time: ``n`` more."""
        return self.broadcast("pool_grow", arguments={"n": n}, destination=destination, **kwargs)

    def pool_shrink(self, n: int = 1, destination: Any = None, **kwargs: Any) -> Any:
        """Let workers run fewer tasks at a time: ``n`` fewer."""
        return self.broadcast("pool_shrink", arguments={"n": n}, destination=destination, **kwargs)

    def autoscale(self, max: int, min: int, destination: Any = None, **kwargs: Any) -> Any:
        """Set how many tasks workers run at a time: the most and the fewest."""
        return self.broadcast("autoscale", arguments={"max": max, "min": min}, destination=destination, **kwargs)

    def shutdown(self, destination: Any = None, **kwargs: Any) -> Any:
        """Let workers end."""
        return self.broadcast("shutdown", arguments={}, destination=destination, **kwargs)

    def pool_restart(
        self, modules: Any = None, reload: bool = False, reloader: Any = None, destination: Any = None, **kwargs: Any
    ) -> Any:
        """Let workers end the processes of their pools, and start others.

        Args:
            modules: the modules that are imported in the new processes.
            reload: import modules again that were imported before.
            reloader: the function that does it.
            destination: the names of the workers; None: all.
            kwargs: further arguments of ``broadcast``.
        """
        arguments = {"modules": modules, "reload": reload, "reloader": reloader}
        return self.broadcast("pool_restart", arguments=arguments, destination=destination, **kwargs)

    def heartbeat(self, destination: Any = None, **kwargs: Any) -> Any:
        """Let workers send a heartbeat at once."""
        return self.broadcast("heartbeat", arguments={}, destination=destination, **kwargs)

    def broadcast(
        self,
        command: str,
        arguments: dict[str, Any] | None = None,
        destination: Any = None,
        connection: Any = None,
        reply: bool = False,
        timeout: float | None = 1.0,
        limit: int | None = None,
        callback: Callable[[Any], Any] | None = None,
        channel: Any = None,
        pattern: str | None = None,
        matcher: str | None = None,
        **extra_kwargs: Any,
    ) -> Any:
        """Send a command to workers.

        Args:
            command: its name.
            arguments: its arguments.
            destination: the names of the workers; None: all.
            connection: the connection to the broker.
            reply: wait for answers, and return them.
            timeout: the seconds in which answers are waited for.
            limit: the number of answers that are waited for.
            callback: is called with each answer.
            channel: a channel of kombu's to use instead of the connection.
            pattern: a pattern of the workers' names.
            matcher: the kind of pattern; without it, ``pattern`` has no effect.
            extra_kwargs: more arguments of the command.

        Raises:
            NotImplementedError: the command can't be carried out without a transport for commands.
        """
        chosen = {"pattern": pattern, "matcher": matcher} if pattern and matcher else {}
        with self.app.connection_or_acquire(connection) as bound:
            return self.mailbox(bound)._broadcast(
                command,
                {**(arguments or {}), **extra_kwargs},
                destination,
                reply,
                timeout,
                limit,
                callback,
                channel=channel,
                **chosen,
            )
