"""Remote control: what can be done with tasks and queues from outside a worker (``app.control``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from taskq_cloud.celery.utils.functional import maybe_list

__all__ = ("Control", "Inspect", "flatten_reply")


def flatten_reply(reply: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Join the replies of several workers into one mapping from their names."""
    return {name: value for each in reply for name, value in each.items()}


class Inspect:
    """Questions to workers.

    Args:
        kwargs: ``destination``, ``timeout``, ``app`` and the other arguments of Celery's constructor.
    """

    app: Any = None

    def __init__(self, **kwargs: Any) -> None:
        self.app = kwargs.pop("app", None) or self.app
        self.destination = kwargs.get("destination")
        self.timeout = kwargs.get("timeout", 1.0)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def ask(*_: Any, **__: Any) -> NoReturn:
            raise NotImplementedError(
                f"inspect().{name}(): workers can't be asked yet: see the logs, /healthz of a worker and `taskq queues`"
            )

        return ask


class Control:
    """Commands about tasks, queues and workers.

    Args:
        app: the application.
    """

    def __init__(self, app: Any = None) -> None:
        self.app = app
        self.mailbox = None

    @property
    def inspect(self) -> Any:
        """The class of questions to workers."""
        return self.app.subclass_with_self(Inspect, reverse="control.inspect")

    def revoke(
        self, task_id: Any, destination: Any = None, terminate: bool = False, signal: Any = "SIGTERM", **kwargs: Any
    ) -> None:
        """Record tasks as revoked, so that no worker runs them.

        Args:
            task_id: the id, or several.
            destination: has no effect: the record counts for all workers.
            terminate: not supported: a task that runs goes on, and its result is dropped.
            signal: the signal for ``terminate``.
            kwargs: further arguments of Celery's method.

        Raises:
            NotImplementedError: ``terminate`` is set.
        """
        if terminate:
            raise NotImplementedError("revoke(terminate=True): a running task can't be ended yet: use time limits")
        for each in maybe_list(task_id):
            self.app.native.AsyncResult(each).revoke()

    def terminate(self, task_id: Any, destination: Any = None, signal: Any = "SIGTERM", **kwargs: Any) -> None:
        """End running tasks: not supported yet; raises ``NotImplementedError``."""
        self.revoke(task_id, destination=destination, terminate=True, signal=signal, **kwargs)

    def purge(self, connection: Any = None) -> int:
        """Delete all messages of the queues that a worker serves, and return their number, as far as it is known."""
        from taskq_cloud.celery.native.purging import purge  # few processes purge queues

        return purge(self.app, sorted(self.app.amqp.queues.consume_from))

    discard_all = purge

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def command(*_: Any, **__: Any) -> NoReturn:
            raise NotImplementedError(
                f"app.control.{name}(): workers don't take commands yet: change settings and deploy, or use "
                "`taskq drain` and `taskq queues`"
            )

        return command
