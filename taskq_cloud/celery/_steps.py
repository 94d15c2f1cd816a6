"""The classes of steps, which ``bootsteps`` offers: parts of a worker that a project adds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskq_cloud.celery.exceptions import ImproperlyConfigured
from taskq_cloud.celery.utils.imports import instantiate
from taskq_cloud.celery.utils.log import get_logger

logger = get_logger("taskq_cloud.celery.bootsteps")


def last_part(name: object) -> str:
    """Return the part of a name after its last dot."""
    return str(name).rsplit(".", 1)[-1]


class StepType(type):
    """The class of steps: each has its qualified name as its ``name``, unless it has another."""

    name: Any = None
    requires: Any = None

    def __new__(cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> Any:
        module = attrs.get("__module__")
        full_name = f"{module}.{name}" if module else name
        return super().__new__(
            cls, name, bases, {**attrs, "__qualname__": full_name, "name": attrs.get("name") or full_name}
        )

    def __str__(cls) -> str:
        return str(cls.name)

    def __repr__(cls) -> str:
        return f"step:{cls.name}{{{cls.requires!r}}}"


class Step(metaclass=StepType):
    """A part of a worker that is made with it; the constructor may set attributes of the worker.

    Args:
        parent: the worker.
        kwargs: the worker's options.
    """

    __module__ = "taskq_cloud.celery.bootsteps"

    name: Any = None
    label: Any = None
    """A short name for the log."""
    conditional = False
    """Whether the step is included on a condition, for drawings."""
    requires: Any = ()
    """The steps that come before this one, as classes or their paths."""
    last = False
    """Whether this is the last step."""
    enabled = True
    """What ``include_if`` returns by default."""

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        pass

    def __repr__(self) -> str:
        return f"<step: {self.alias}>"

    @property
    def alias(self) -> Any:
        """The short name."""
        return self.label or last_part(self.name)

    def include_if(self, parent: Any) -> Any:
        """Return whether the step is included."""
        return self.enabled

    def instantiate(self, name: Any, *args: Any, **kwargs: Any) -> Any:
        """Make an object of a class, or of its path."""
        return instantiate(name, *args, **kwargs)

    def _should_include(self, parent: Any) -> tuple[bool, Any]:
        return (True, self.create(parent)) if self.include_if(parent) else (False, None)

    def include(self, parent: Any) -> Any:
        """Include the step, and return whether it is."""
        return self._should_include(parent)[0]

    def create(self, parent: Any) -> Any:
        """Make what the step is about."""

    def info(self, obj: Any) -> Any:
        """Return facts about the step, as a mapping."""


class StartStopStep(Step):
    """A step that is started and stopped: what ``create`` returns, if it returns an object."""

    __module__ = "taskq_cloud.celery.bootsteps"

    obj: Any = None

    def start(self, parent: Any) -> Any:
        """Start the object."""
        return self.obj.start() if self.obj else None

    def stop(self, parent: Any) -> Any:
        """Stop the object."""
        return self.obj.stop() if self.obj else None

    def close(self, parent: Any) -> Any:
        """Act before the steps are stopped."""

    def terminate(self, parent: Any) -> Any:
        """End the object at once, if it can; otherwise stop it."""
        return getattr(self.obj, "terminate", self.obj.stop)() if self.obj else None

    def include(self, parent: Any) -> Any:
        """Make the object, and add the step to the parent's."""
        included, made = self._should_include(parent)
        if included:
            self.obj = made
            parent.steps.append(self)
        return included


class ConsumerStep(StartStopStep):
    """A step with consumers of messages of its own, which no broker of taskq_cloud has."""

    __module__ = "taskq_cloud.celery.bootsteps"

    requires = ("taskq_cloud.celery.worker.consumer:Connection",)
    consumers: Any = None

    def get_consumers(self, channel: Any) -> Any:
        """Return the consumers.

        Raises:
            NotImplementedError: a derived class doesn't have this method.
        """
        raise NotImplementedError("missing get_consumers")

    def start(self, c: Any) -> None:
        """Start the consumers.

        Raises:
            ImproperlyConfigured: the connection has no channel.
        """
        channel = getattr(c.connection, "channel", None)
        if channel is None:
            raise ImproperlyConfigured(
                f"{type(self).__name__}: consumers of kombu are not supported, because there is no channel of "
                "kombu: let a task handle the messages (task_event_routes), or read them in a process of your own"
            )
        self.consumers = self.get_consumers(channel())
        for consumer in self.consumers or ():
            consumer.consume()

    def stop(self, c: Any) -> None:
        """Cancel the consumers and close their channels."""
        self._close(c, cancel_consumers=True)

    def shutdown(self, c: Any) -> None:
        """Close the channels."""
        self._close(c, cancel_consumers=False)

    def _close(self, c: Any, cancel_consumers: bool = True) -> None:
        consumers = self.consumers or ()
        if cancel_consumers:
            for consumer in consumers:
                _ignoring_connection_errors(c.connection, consumer.cancel)
        for channel in {id(each.channel): each.channel for each in consumers if each.channel}.values():
            _ignoring_connection_errors(c.connection, channel.close)


def _ignoring_connection_errors(connection: Any, call: Callable[[], Any]) -> None:
    errors = (*getattr(connection, "connection_errors", ()), *getattr(connection, "channel_errors", ()))
    try:
        call()
    except errors as error:
        logger.debug("the connection is gone already: %r", error)
