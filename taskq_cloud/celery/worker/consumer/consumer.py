"""``worker.consumer``: runs the native worker, between the steps that a project adds to the consumer."""

from __future__ import annotations

from typing import Any, ClassVar

from taskq_cloud.celery import bootsteps
from taskq_cloud.celery.worker.consumer.steps import Connection

__all__ = ("Consumer", "Evloop")


class Evloop(bootsteps.StartStopStep):
    """Runs the native worker. It is the last step."""

    label = "event loop"
    last = True

    def start(self, c: Any) -> None:
        """Run the native worker until it is told to stop."""
        c.loop()

    def stop(self, c: Any) -> None:
        """Do nothing: the native worker has stopped."""


class Consumer:
    """Runs the native worker, and the consumer's steps.

    Args:
        controller: the worker.
        init_callback: is called with this object when messages are about to be received.
        hostname: the worker's name.
        app: the application.
        pool: the worker's pool.
        timer: the worker's timer.
        kwargs: further arguments of Celery's consumer.
    """

    class Blueprint(bootsteps.Blueprint):
        """The steps of the consumer."""

        name = "Consumer"
        default_steps: ClassVar[Any] = {Connection, Evloop}

        def shutdown(self, parent: Any) -> None:
            """Tell the steps that the worker has stopped."""
            self.send_all(parent, "shutdown")

    def __init__(
        self,
        controller: Any,
        init_callback: Any = None,
        hostname: str | None = None,
        app: Any = None,
        pool: Any = None,
        timer: Any = None,
        **kwargs: Any,
    ) -> None:
        self.controller, self.app = controller, app or controller.app
        self.init_callback = init_callback or (lambda _consumer: None)
        self.hostname, self.pool, self.timer = hostname or controller.hostname, pool, timer
        self.steps: list[Any] = []
        self.blueprint = self.Blueprint(steps=self.app.steps["consumer"])
        self.blueprint.apply(self, **controller.options)

    def start(self) -> None:
        """Start the steps; the last of them runs the native worker."""
        self.blueprint.start(self)

    def loop(self) -> None:
        """Run the native worker until it is told to stop."""
        self.controller.run_native(lambda: self.init_callback(self))

    def stop(self) -> None:
        """Stop the native worker, and then the steps."""
        self.controller.stop_native()
        self.blueprint.stop(self)

    def update_strategies(self) -> None:
        """Do nothing: the native worker looks a task up when its message comes."""

    def reset_rate_limits(self) -> None:
        """Do nothing: the native worker reads a task's rate limit when its message comes."""

    def close(self) -> None:
        """Do nothing: the native worker receives no more once it is told to stop."""

    def shutdown(self) -> None:
        """Tell the steps that the worker has stopped."""
        self.blueprint.shutdown(self)
