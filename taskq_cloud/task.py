"""Tasks: the objects that ``@app.task`` makes from functions, with all ways to call them."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeAlias, TypeVar, Unpack, overload

from taskq_cloud.core.lazy import lazy
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.task_definition import TaskDefinition

if TYPE_CHECKING:
    from uuid import UUID

    from taskq_cloud.bound_task import BoundTask
    from taskq_cloud.calling.options import CallKeywords
    from taskq_cloud.calling.tasks import Arguments
    from taskq_cloud.canvas import Call, Group
    from taskq_cloud.core.execution.conversion import Conversion
    from taskq_cloud.core.flows import Flow
    from taskq_cloud.core.model.hooks import Hooks
    from taskq_cloud.core.model.option_keywords import TaskKeywords
    from taskq_cloud.results.async_result import AsyncResult as TaskResult
    from taskq_cloud.results.async_result import EagerResult
    from taskq_cloud.runtime.protocols import Application
    from taskq_cloud.schedules import PeriodicKeywords

    class DeclarationKeywords(TaskKeywords, PeriodicKeywords, total=False):
        """The options of ``@app.task`` as keyword arguments."""

        hooks: Hooks | Iterable[Hooks]


Args: TypeAlias = Sequence[Any] | None
Kwargs: TypeAlias = Mapping[str, Any] | None
TaskId: TypeAlias = "str | UUID"

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
        self._shape = definition.shape()
        # Raises now if the function can't be called as the task's.
        self._signature = definition.signature if self._shape is None else None

    def __repr__(self) -> str:
        return f"<@task: {self.name}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the function here and now, without a message and without a result."""
        first = (self._called_directly(args, kwargs),) if self._bound else ()
        value: R_co = self.definition.function(*first, *args, **kwargs)
        return value

    def _called_directly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> BoundTask:
        from taskq_cloud.bound_task import BoundTask  # few tasks are bound
        from taskq_cloud.core.model.message import Message
        from taskq_cloud.core.model.outcome import Invocation

        call = Invocation(message=Message(task=self.name, id="", args=args, kwargs=kwargs))
        return BoundTask(self._app, self.definition, call, called_directly=True)

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
        from taskq_cloud.results.async_result import AsyncResult  # not every process has to do with results

        return AsyncResult(task_id, self._app)

    def check_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Check arguments against the function's signature.

        Raises:
            TypeError: the function does not take them.
        """
        plain = isinstance(args, list | tuple) and isinstance(kwargs, dict)
        if plain and self._shape is not None and self._shape.takes(args, kwargs):
            return
        signature = self._signature or self.definition.signature
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"task {self.name}{signature}: {error}") from None

    def _send(self, calls: Sequence[Arguments], options: Mapping[str, Any]) -> Flow[list[TaskResult[Any]]]:
        from taskq_cloud.calling import tasks  # not every process calls tasks
        from taskq_cloud.calling.options import call_options

        if self.options.typing:
            for args, kwargs in calls:
                self.check_arguments(args, kwargs)
        return tasks.send(self._app, self.name, self.plain(calls, options), call_options(self.name, options))

    def plain(self, calls: Sequence[Arguments], options: Mapping[str, Any]) -> Sequence[Arguments]:
        """Write arguments as plain values, if the task converts its arguments."""
        if self._conversion is None:
            return calls
        from taskq_cloud.calling import typed_calls  # few tasks convert their arguments

        return typed_calls.plain(self.definition, self._conversion, calls, options.get("serializer"))

    @lazy
    def _conversion(self) -> Conversion | None:
        """Writes and reads arguments and values by their types; None: they are sent as they are."""
        if not (self.options.typed or self.options.pydantic):
            return None
        from taskq_cloud.core.execution.conversion import conversion_of  # few tasks convert their arguments

        return conversion_of(self.definition)

    def plain_part(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """Write the arguments of a signature as plain values: some may be missing, and others come before them."""
        return (args, kwargs) if self._conversion is None else self._conversion.dump_part(args, kwargs)

    def _run_in_place(self, arguments: Arguments, options: Mapping[str, Any]) -> EagerResult[Any]:
        from taskq_cloud.calling import eager_workflows  # few processes run anything in place
        from taskq_cloud.calling.options import call_options

        ((args, kwargs),) = self.plain([arguments], options)
        return eager_workflows.run_task(self._app, self.name, args, kwargs, call_options(self.name, options))

    # -- as part of a workflow

    def s(self, *args: Any, **kwargs: Any) -> Call:
        """Make a signature: a call that is not sent yet, for a workflow.

        In a chain, the value of the task before comes first, before ``args``.
        """
        from taskq_cloud.canvas import Call  # few processes make workflows

        return Call(self.name, *self.plain_part(args, kwargs), app=self._app)

    def si(self, *args: Any, **kwargs: Any) -> Call:
        """Make an immutable signature: in a chain, it ignores the value of the task before."""
        from taskq_cloud.canvas import Call  # few processes make workflows

        return Call(self.name, *self.plain_part(args, kwargs), immutable=True, app=self._app)

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
        from taskq_cloud.canvas import Call  # few processes make workflows

        plain, named = self.plain_part(() if args is None else tuple(args), kwargs or {})
        call = Call(self.name, plain, named, app=self._app)
        chosen = {**(options or {}), **more}
        return call.set(**chosen) if chosen else call

    subtask = signature

    def map(self, it: Iterable[Any]) -> Call:
        """Make one message that runs the task for each item, one after the other; its value is the list of values."""
        from taskq_cloud.canvas import mapped  # few processes make workflows

        return mapped(self.s(), it, star=False)

    def starmap(self, it: Iterable[Sequence[Any]]) -> Call:
        """Make one message that runs the task for each tuple of arguments: see ``map``."""
        from taskq_cloud.canvas import mapped  # few processes make workflows

        return mapped(self.s(), it, star=True)

    def chunks(self, it: Iterable[Sequence[Any]], n: int) -> Group:
        """Make a group of messages, each of which runs the task for ``n`` tuples of arguments."""
        from taskq_cloud.canvas import chunks  # few processes make workflows

        return chunks(self.s(), it, n)
