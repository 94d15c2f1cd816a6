"""Hooks: what an application does around the tasks, messages and processes of others, as methods of one class.

``taskq_cloud.hooks`` has these names for users. ``hook_calls`` calls the methods, and reports their errors. A process
whose application has no hooks imports neither.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from taskq_cloud.core.lazy.values import replace

if TYPE_CHECKING:
    from taskq_cloud.core.model.message import Delivery, Message
    from taskq_cloud.core.model.outcome import Invocation, Outcome
    from taskq_cloud.core.model.task_definition import TaskDefinition

REPLACED: Final = "REPLACED"
"""The end of a run whose task asks for another task in its place. No record has this state."""

INTERRUPTED: Final = "INTERRUPTED"
"""The end of a run that was ended from outside, such as by its hard time limit. No record has this state."""

MaybeAwaitable: TypeAlias = "Awaitable[object] | object"
"""What a hook returns: nothing, or the coroutine of an ``async def``, which is then run to its end."""


class Run:
    """One run of a task, as hooks see it.

    Args:
        invocation: the run.
        definition: the task's name, function and options; None: the task is not registered in this process.

    Attributes:
        invocation: the run, with the message that was received.
        function: the function that is called with the task's arguments. ``before_run`` may replace it, by a function
            that wraps it.
        state: the state in which the run has ended; "" until then.
        value: the value that the function has returned; None until then.
        exception: the exception that the function has raised; None: it has raised none.
        outcome: the outcome of the run, as the pool reports it to the pipeline; None until then.
    """

    __slots__ = ("_definition", "_request", "exception", "function", "invocation", "outcome", "state", "value")

    def __init__(self, invocation: Invocation, definition: TaskDefinition | None) -> None:
        self.invocation = invocation
        self.function: Callable[..., Any] = definition.function if definition is not None else _do_nothing
        self.state = ""
        self.value: Any = None
        self.exception: BaseException | None = None
        self.outcome: Outcome | None = None
        self._definition = definition
        self._request: Any = None

    def __repr__(self) -> str:
        return f"<Run of {self.task}[{self.id}]{f': {self.state}' if self.state else ''}>"

    @property
    def task(self) -> str:
        """The task's name."""
        return self.invocation.message.task

    @property
    def id(self) -> str:
        """The task's id."""
        return self.invocation.message.id

    @property
    def args(self) -> Sequence[Any]:
        """The positional arguments of the call, without the ``self`` of a bound task."""
        return self.invocation.message.args

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """The keyword arguments of the call."""
        return self.invocation.message.kwargs

    @property
    def headers(self) -> Mapping[str, Any]:
        """The message's own headers, which ``before_send`` may have added."""
        return self.invocation.message.headers

    @property
    def request(self) -> Any:
        """The ``Request`` of the run, as the function sees it."""
        if self._request is None and self._definition is not None:
            self._request = self._definition.request(self.invocation)
        return self._request


class Call:
    """A message on its way to the broker, as hooks see it.

    Args:
        message: the message.
        queue: the queue that it is routed to; with levels of priority, it goes to the queue of its level.
        options: the options of the call that were given, by the names that ``apply_async`` gives them.

    Attributes:
        headers: the message's own headers. ``before_send`` may add, change and remove some.
        message_id: the broker's id of the message; None until the broker has accepted it.
    """

    __slots__ = ("headers", "message", "message_id", "options", "queue")

    def __init__(self, message: Message, queue: str, options: Mapping[str, Any]) -> None:
        self.message = message
        self.queue = queue
        self.options = options
        self.headers: MutableMapping[str, Any] = {}
        self.message_id: str | None = None

    def __repr__(self) -> str:
        return f"<Call of {self.task}[{self.id}] to {self.queue}>"

    def change(self, *, kwargs: Mapping[str, Any] | None = None, priority: int | None = None) -> None:
        """Change the message before it is sent: its keyword arguments, or its priority; None leaves a part as it is."""
        if kwargs is not None and kwargs != self.message.kwargs:
            self.message = replace(self.message, kwargs=kwargs, payload_reference=None)
        if priority is not None:
            self.message = replace(self.message, priority=priority)

    @property
    def task(self) -> str:
        """The task's name."""
        return self.message.task

    @property
    def id(self) -> str:
        """The task's id."""
        return self.message.id

    @property
    def args(self) -> Sequence[Any]:
        """The positional arguments."""
        return self.message.args

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """The keyword arguments."""
        return self.message.kwargs


class Received:
    """A message that a worker, a function or an endpoint has received, as hooks see it.

    Args:
        message: the message.
        delivery: the broker's delivery of it.
        hostname: the name of the worker.
    """

    __slots__ = ("delivery", "hostname", "message")

    def __init__(self, message: Message, delivery: Delivery, hostname: str) -> None:
        self.message = message
        self.delivery = delivery
        self.hostname = hostname

    def __repr__(self) -> str:
        return f"<Received {self.task}[{self.id}] from {self.delivery.queue}>"

    @property
    def task(self) -> str:
        """The task's name."""
        return self.message.task

    @property
    def id(self) -> str:
        """The task's id."""
        return self.message.id


class RunningWorker(Protocol):
    """The worker, as hooks and components see it."""

    @property
    def hostname(self) -> str:
        """The worker's name."""
        ...

    @property
    def options(self) -> Any:
        """The worker's options: ``queues``, ``pool``, ``concurrency`` and others."""
        ...

    def stop(self) -> None:
        """Receive no more messages, let running tasks finish, and end."""
        ...

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the worker is healthy, and the body that ``/healthz`` answers with."""
        ...


class Hooks:
    """What an application does around tasks, messages and processes. A subclass has the methods that it needs.

    ``app.add_hooks(hooks)`` adds an object for every task, and ``@app.task(hooks=[...])`` for one task. An error that a
    method raises is logged, and changes nothing else.

    Methods about runs and processes may be coroutine functions. The others are called while messages are sent or
    received, and must return quickly.
    """

    # -- sending

    def before_send(self, call: Call) -> None:
        """A message is about to be encoded. ``call.headers`` can be changed."""

    def after_send(self, call: Call) -> None:
        """The broker, or the scheduler, has accepted a message."""

    # -- running, in the process and the thread of the task's function

    def before_run(self, run: Run) -> MaybeAwaitable:
        """A task's function is about to be called. ``Ignore``, ``Reject`` or ``Retry``, raised here, ends the run."""

    def on_success(self, run: Run, value: Any) -> MaybeAwaitable:
        """A task's function has returned a value."""

    def on_retry(self, run: Run, error: BaseException) -> MaybeAwaitable:
        """A run has ended in an error, and the task will be retried. ``run.exception`` was raised by the function."""

    def on_failure(self, run: Run, error: BaseException) -> MaybeAwaitable:
        """A run has ended in an error, and the task has failed."""

    def after_run(self, run: Run, state: str, result: Any) -> MaybeAwaitable:
        """A run has ended: SUCCESS with its value; FAILURE, RETRY, IGNORED, REJECTED or REPLACED with an exception.

        INTERRUPTED is the state of a run that was ended from outside, by its hard time limit or a stopping worker.
        """

    # -- receiving, in the worker's own process

    def task_received(self, received: Received) -> None:
        """A message of a registered task was received; it may be received again, and it need not be due."""

    def task_revoked(self, received: Received, reason: str) -> None:
        """A task is not run, because it was revoked, has expired (``"expired"``), or is a tick that must not run."""

    def task_rejected(self, received: Received, reason: str) -> None:
        """A message is dead-lettered: it can't be read, its task has rejected it, or its receives have run out.

        The task of a message that can't be read is named ``"?"``.
        """

    def task_unknown(self, received: Received) -> None:
        """A message of a task that isn't registered here was received, and is given back or dead-lettered."""

    def task_cut_off(self, received: Received, error: BaseException) -> None:
        """A task has failed in a way that its own process can't report: killed by its time limit, or by the system."""

    # -- workers, processes and functions

    def worker_started(self, worker: RunningWorker) -> MaybeAwaitable:
        """A worker is ready, and is about to receive messages."""

    def worker_stopping(self, worker: RunningWorker) -> MaybeAwaitable:
        """A worker has been told to stop; its tasks may still run."""

    def process_started(self) -> MaybeAwaitable:
        """A process that runs tasks has started: each child of a processes pool, or the worker's only process."""

    def process_stopping(self) -> MaybeAwaitable:
        """A process that has run tasks ends. A process that is killed is not asked."""

    def function_started(self) -> MaybeAwaitable:
        """A Lambda function is being initialised, or a push endpoint gets its first request."""

    def function_restored(self) -> MaybeAwaitable:
        """A Lambda function was restored from a snapshot (SnapStart), perhaps days after it was initialised."""


HookTable: TypeAlias = "dict[str, tuple[Hooks, ...]]"
"""Task name -> the task's own hooks; and ``EVERY_TASK`` -> the application's. An empty table: there are no hooks."""


def _do_nothing(*_args: Any, **_kwargs: Any) -> None:
    """Stands for the function of a task that is not registered: its run ends before a function is called."""
