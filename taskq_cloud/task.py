"""Tasks: the objects that ``@app.task`` makes from functions, with all ways to call them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeAlias, TypeVar, Unpack, overload
from uuid import UUID

from taskq_cloud.bound_task import BoundTask
from taskq_cloud.calling import tasks
from taskq_cloud.calling.options import CallKeywords, call_options
from taskq_cloud.calling.tasks import Arguments
from taskq_cloud.canvas import Call, Group, chunks, mapped
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.messages.headers import header_clash
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.option_values import NAME, check
from taskq_cloud.core.model.options import TaskOptions, task_options
from taskq_cloud.core.model.outcome import Invocation
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.errors import ImproperlyConfigured, OptionError
from taskq_cloud.request import Request
from taskq_cloud.results.async_result import AsyncResult as TaskResult
from taskq_cloud.results.async_result import EagerResult
from taskq_cloud.runtime.protocols import Application

if TYPE_CHECKING:
    from taskq_cloud.beat.declarations import Declaration
    from taskq_cloud.core.model.options import TaskKeywords
    from taskq_cloud.schedules import PeriodicKeywords

    class DeclarationKeywords(TaskKeywords, PeriodicKeywords, total=False):
        """The options of ``@app.task`` as keyword arguments."""


_PERIODIC: Final = frozenset(
    {"every", "cron", "schedule", "timezone", "enabled", "start", "end", "jitter", "overlap", "catch_up"}
)
"""The options that make a task periodic: those of ``beat.declarations.DECORATOR_OPTIONS`` that have no other
meaning."""

Args: TypeAlias = Sequence[Any] | None
Kwargs: TypeAlias = Mapping[str, Any] | None
TaskId: TypeAlias = str | UUID

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
V = TypeVar("V")

AsyncFunction: TypeAlias = Coroutine[Any, Any, V]
"""The return value of a coroutine function whose own value is a ``V``."""


class Task(Generic[P, R_co]):
    """A function that is called anywhere and that a worker runs. ``@app.task`` makes it.

    ``Task[P, R]`` knows the parameters ``P`` and the value ``R`` of its function, so a type checker knows the arguments
    of ``delay`` and the value of ``get``.

    Args:
        app: the application.
        definition: the task's name, function and options.
        bound: whether the function gets a ``BoundTask`` as its first argument.
    """

    def __init__(self, app: Application, definition: TaskDefinition, *, bound: bool) -> None:
        self._app = app
        self.definition = definition
        self.name = definition.name
        self.options: TaskOptions = definition.options
        self.__wrapped__ = definition.function
        self.__doc__ = definition.function.__doc__
        self.__module__ = definition.function.__module__
        self.__name__ = getattr(definition.function, "__name__", definition.name)
        self._bound = bound
        self._signature = definition.signature

    def __repr__(self) -> str:
        return f"<@task: {self.name}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the function here and now, without a message and without a result."""
        call = Invocation(message=Message(task=self.name, id="", args=args, kwargs=kwargs))
        first = (BoundTask(self._app, self.definition, call, called_directly=True),) if self._bound else ()
        value: R_co = self.definition.function(*first, *args, **kwargs)
        return value

    # -- calling

    @overload
    def delay(self: Task[P, AsyncFunction[V]], *args: P.args, **kwargs: P.kwargs) -> TaskResult[V]: ...

    @overload
    def delay(self, *args: P.args, **kwargs: P.kwargs) -> TaskResult[R_co]: ...

    def delay(self, *args: Any, **kwargs: Any) -> TaskResult[Any]:
        """Call the task with these arguments: ``apply_async`` without options, and with its errors."""
        return self.apply_async(args, kwargs)

    @overload
    async def adelay(self: Task[P, AsyncFunction[V]], *args: P.args, **kwargs: P.kwargs) -> TaskResult[V]: ...

    @overload
    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> TaskResult[R_co]: ...

    async def adelay(self, *args: Any, **kwargs: Any) -> TaskResult[Any]:
        """Call the task on an event loop: see ``delay``."""
        return await self.aapply_async(args, kwargs)

    @overload
    def apply_async(
        self: Task[P, AsyncFunction[V]], args: Args = None, kwargs: Kwargs = None, **options: Unpack[CallKeywords]
    ) -> TaskResult[V]: ...

    @overload
    def apply_async(
        self, args: Args = None, kwargs: Kwargs = None, **options: Unpack[CallKeywords]
    ) -> TaskResult[R_co]: ...

    def apply_async(self, args: Args = None, kwargs: Kwargs = None, **options: Unpack[CallKeywords]) -> TaskResult[Any]:
        """Call the task: send a message, and return as soon as the broker has accepted it.

        Args:
            args: the positional arguments.
            kwargs: the keyword arguments.
            options: the options of the call, such as ``countdown`` and ``queue``: see docs/calling.md.

        Raises:
            TypeError: the arguments don't fit the function, or an option is unknown or has the wrong type.
            EncodeError: the arguments can't be serialised.
            PayloadTooLarge: the message exceeds the broker's size limit.
            OperationalError: the broker did not accept the message; ``QueueNotFound``, ``AccessDenied`` and
                ``Unreachable`` say why.
        """
        arguments = (() if args is None else args, kwargs or {})
        if self._app.conf.task_always_eager:
            return self._run_in_place(arguments, options)
        (result,) = self._app.run(self._send([arguments], options))
        return result

    @overload
    async def aapply_async(
        self: Task[P, AsyncFunction[V]], args: Args = None, kwargs: Kwargs = None, **options: Unpack[CallKeywords]
    ) -> TaskResult[V]: ...

    @overload
    async def aapply_async(
        self, args: Args = None, kwargs: Kwargs = None, **options: Unpack[CallKeywords]
    ) -> TaskResult[R_co]: ...

    async def aapply_async(
        self, args: Args = None, kwargs: Kwargs = None, **options: Unpack[CallKeywords]
    ) -> TaskResult[Any]:
        """Call the task with options, on an event loop: see ``apply_async``."""
        arguments = (() if args is None else args, kwargs or {})
        if self._app.conf.task_always_eager:
            return self._run_in_place(arguments, options)
        (result,) = await self._app.arun(self._send([arguments], options))
        return result

    @overload
    def map_async(
        self: Task[P, AsyncFunction[V]], argument_tuples: Iterable[Sequence[Any]], **options: Unpack[CallKeywords]
    ) -> list[TaskResult[V]]: ...

    @overload
    def map_async(
        self, argument_tuples: Iterable[Sequence[Any]], **options: Unpack[CallKeywords]
    ) -> list[TaskResult[R_co]]: ...

    def map_async(
        self, argument_tuples: Iterable[Sequence[Any]], **options: Unpack[CallKeywords]
    ) -> Sequence[TaskResult[Any]]:
        """Call the task once for each tuple of positional arguments, in as few requests as the broker allows.

        Args:
            argument_tuples: the positional arguments of each call.
            options: the options of all calls: see docs/calling.md.

        Raises:
            SendError: the broker did not accept some of the calls; ``failures`` and ``results`` say which.
            TypeError: the arguments of a call don't fit the function; nothing was sent.
            EncodeError: the arguments of a call can't be serialised; nothing was sent.
        """
        if self._app.conf.task_always_eager:
            return [self._run_in_place((each, {}), options) for each in argument_tuples]
        return self._app.run(self._send([(each, {}) for each in argument_tuples], options))

    @overload
    async def amap_async(
        self: Task[P, AsyncFunction[V]], argument_tuples: Iterable[Sequence[Any]], **options: Unpack[CallKeywords]
    ) -> list[TaskResult[V]]: ...

    @overload
    async def amap_async(
        self, argument_tuples: Iterable[Sequence[Any]], **options: Unpack[CallKeywords]
    ) -> list[TaskResult[R_co]]: ...

    async def amap_async(
        self, argument_tuples: Iterable[Sequence[Any]], **options: Unpack[CallKeywords]
    ) -> Sequence[TaskResult[Any]]:
        """Call the task once for each tuple of arguments, on an event loop: see ``map_async``."""
        if self._app.conf.task_always_eager:
            return [self._run_in_place((each, {}), options) for each in argument_tuples]
        return await self._app.arun(self._send([(each, {}) for each in argument_tuples], options))

    @overload
    def apply(
        self: Task[P, AsyncFunction[V]], args: Args = None, kwargs: Kwargs = None, **options: Unpack[CallKeywords]
    ) -> EagerResult[V]: ...

    @overload
    def apply(self, args: Args = None, kwargs: Kwargs = None, **options: Unpack[CallKeywords]) -> EagerResult[R_co]: ...

    def apply(self, args: Args = None, kwargs: Kwargs = None, **options: Unpack[CallKeywords]) -> EagerResult[Any]:
        """Run the task in this process, with its retries, as a worker would; nothing is sent or stored.

        Args:
            args: the positional arguments.
            kwargs: the keyword arguments.
            options: the options of the call. Time limits, ``expires``, ``countdown`` and headers have no effect.

        Returns:
            The result, which holds the task's value or its exception.
        """
        return self._run_in_place((() if args is None else args, kwargs or {}), options)

    @overload
    def AsyncResult(self: Task[P, AsyncFunction[V]], task_id: TaskId) -> TaskResult[V]: ...

    @overload
    def AsyncResult(self, task_id: TaskId) -> TaskResult[R_co]: ...

    def AsyncResult(self, task_id: TaskId) -> TaskResult[Any]:
        """Return the result of an earlier call, by the task's id."""
        return TaskResult(task_id, self._app)

    def check_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Check arguments against the function's signature.

        Raises:
            TypeError: the function does not take them.
        """
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"task {self.name}{self._signature}: {error}") from None

    def _send(self, calls: Sequence[Arguments], options: Mapping[str, Any]) -> Flow[list[TaskResult[Any]]]:
        if self.options.typing:
            for args, kwargs in calls:
                self.check_arguments(args, kwargs)
        return tasks.send(self._app, self.name, calls, call_options(self.name, options))

    def _run_in_place(self, arguments: Arguments, options: Mapping[str, Any]) -> EagerResult[Any]:
        from taskq_cloud.calling import eager_workflows  # few processes run anything in place

        return eager_workflows.run_task(self._app, self.name, *arguments, call_options(self.name, options))

    # -- as part of a workflow

    def s(self, *args: Any, **kwargs: Any) -> Call:
        """Make a signature: a call that is not sent yet, for a workflow.

        In a chain, the value of the task before comes first, before ``args``.
        """
        return Call(self.name, args, kwargs, app=self._app)

    def si(self, *args: Any, **kwargs: Any) -> Call:
        """Make an immutable signature: in a chain, it ignores the value of the task before."""
        return Call(self.name, args, kwargs, immutable=True, app=self._app)

    def signature(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Call:
        """Make a signature with options.

        Args:
            args: the positional arguments.
            kwargs: the keyword arguments.
            options: the options of ``apply_async``.
            more: further options by name, and ``immutable``; these come before ``options``.
        """
        call = Call(self.name, () if args is None else tuple(args), kwargs or {}, app=self._app)
        chosen = {**(options or {}), **more}
        return call.set(**chosen) if chosen else call

    subtask = signature

    def map(self, it: Iterable[Any]) -> Call:
        """Make one message that runs the task for each item, one after the other; its value is the list of values."""
        return mapped(self.s(), it, star=False)

    def starmap(self, it: Iterable[Sequence[Any]]) -> Call:
        """Make one message that runs the task for each tuple of arguments: see ``map``."""
        return mapped(self.s(), it, star=True)

    def chunks(self, it: Iterable[Sequence[Any]], n: int) -> Group:
        """Make a group of messages, each of which runs the task for ``n`` tuples of arguments."""
        return chunks(self.s(), it, n)


def define(
    app: Application, function: Callable[..., Any], name: str | None, options: Mapping[str, Any], *, bind: bool
) -> tuple[Task[..., Any], list[Declaration]]:
    """Make a task from a function, and the declaration of its schedule if it is periodic: see ``TaskQ.task``."""
    if not (callable(function) and hasattr(function, "__name__")):
        raise TypeError(f"@app.task decorates a function, not {function!r}; its options are keyword arguments")
    name, options = name or app.gen_task_name(function.__name__, function.__module__), dict(options)
    try:
        check(NAME, "the name of a task", name)
    except OptionError as error:
        raise ImproperlyConfigured(str(error)) from None
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ImproperlyConfigured(
            f"task {name}: {function.__qualname__} is a generator function, whose body doesn't run when a worker calls "
            "it: return a list"
        )
    periodic: list[Declaration] = []
    if not _PERIODIC.isdisjoint(options):
        from taskq_cloud.beat.declarations import from_decorator  # most tasks are not periodic

        periodic = from_decorator(name, options)
    definition = TaskDefinition(
        name,
        function,
        task_options(name, options),
        (lambda run: BoundTask(app, definition, run)) if bind else None,
        Request,
    )
    if clash := header_clash(definition.options.retry_kwargs.get("headers")):
        raise ImproperlyConfigured(f"task {name}: retry_kwargs: {clash}")
    if definition.options.rate_key is not None:
        from taskq_cloud.core.execution.steps.rate_limits import check_key  # few tasks have one

        check_key(definition)
    return Task(app, definition, bound=bind), periodic
