"""A task: what ``@app.task`` makes of a function, and the ``self`` that a bound task gets while it runs."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, Protocol, TypeAlias, TypeVar

from taskq_cloud.calling.options import CallOptions, call_options
from taskq_cloud.canvas import Applier, Call, Group, chunks, mapped
from taskq_cloud.canvas.workflow import node_of
from taskq_cloud.core import serializers
from taskq_cloud.core.execution import retry
from taskq_cloud.core.execution.runner import added_to_chord, current_invocation
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Message, Signature
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.outcome import Invocation
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.records import document, record
from taskq_cloud.core.records.record import Record, version_of
from taskq_cloud.core.workflows import chord_additions, signatures
from taskq_cloud.errors import EncodeError, ImproperlyConfigured, Replaced, Retry
from taskq_cloud.results.async_result import AsyncResult, EagerResult
from taskq_cloud.runtime.protocols import Backend

if TYPE_CHECKING:
    from taskq_cloud.request import Request

Result: TypeAlias = AsyncResult[Any]
P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")


class Sender(Backend, Applier, Protocol):
    """What a task asks of its application."""

    def call(
        self, name: str, calls: Sequence[tuple[Sequence[Any], Mapping[str, Any]]], options: CallOptions
    ) -> Flow[list[Result]]:
        """Send one task's calls, in as few requests as the broker allows."""
        ...

    def eager(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: CallOptions
    ) -> EagerResult[Any]:
        """Run a task in place."""
        ...

    @property
    def always_eager(self) -> bool:
        """Whether calls run in place (``task_always_eager``)."""
        ...


class Task(Generic[P, R]):
    """A function that can be called from anywhere and runs somewhere else. Calling the task itself runs it here.

    Args:
        sender: the application.
        definition: what is run.
    """

    def __init__(self, sender: Sender, definition: TaskDefinition, *, bound: bool) -> None:
        self._sender = sender
        self.definition = definition
        self.name = definition.name
        self.options: TaskOptions = definition.options
        self.__wrapped__ = definition.function
        self.__doc__ = definition.function.__doc__
        self.__module__ = definition.function.__module__
        self.__name__ = getattr(definition.function, "__name__", definition.name)
        self._bound = bound
        parameters = inspect.signature(definition.function)
        self._signature = (
            parameters.replace(parameters=list(parameters.parameters.values())[1:]) if bound else parameters
        )

    def __repr__(self) -> str:
        return f"<@task: {self.name}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now: no message, no result stored."""
        first = (
            BoundTask(
                self, Invocation(message=Message(task=self.name, id="", args=args, kwargs=kwargs)), called_directly=True
            ),
        )
        value: R = self.definition.function(*(first if self._bound else ()), *args, **kwargs)
        return value

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Result:
        """Call the task. Raises as ``apply_async`` does."""
        return self.apply_async(args, kwargs)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> Result:
        """``delay`` on an event loop."""
        return await self.aapply_async(args, kwargs)

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Result:
        """Call the task, with the options of ``taskq_cloud.calling.options.CallOptions``.

        Raises:
            TypeError: the arguments don't fit the function, or an option is unknown.
            EncodeError: the arguments can't be serialised.
            PayloadTooLarge: the message is over the broker's limit.
            QueueNotFound, AccessDenied, Unreachable, OperationalError: the broker did not take it.
        """
        if self._sender.always_eager:
            return self.apply(args, kwargs, **options)
        (result,) = self._sender.run(self._calls([(() if args is None else args, kwargs or {})], options))
        return result

    async def aapply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Result:
        """``apply_async`` on an event loop."""
        if self._sender.always_eager:
            return self.apply(args, kwargs, **options)
        (result,) = await self._sender.arun(self._calls([(() if args is None else args, kwargs or {})], options))
        return result

    def map_async(self, argument_tuples: Iterable[Sequence[Any]], **options: Any) -> list[Result]:
        """Call the task once for each tuple of positional arguments, in as few requests as the broker allows.

        Raises:
            SendError: some were not accepted; its ``failures`` and ``results`` tell which.
            TypeError, EncodeError: one can't be sent as it is; then none is.
        """
        if self._sender.always_eager:
            return [self.apply(each, **options) for each in argument_tuples]
        return self._sender.run(self._calls([(each, {}) for each in argument_tuples], options))

    async def amap_async(self, argument_tuples: Iterable[Sequence[Any]], **options: Any) -> list[Result]:
        """``map_async`` on an event loop."""
        if self._sender.always_eager:
            return [self.apply(each, **options) for each in argument_tuples]
        return await self._sender.arun(self._calls([(each, {}) for each in argument_tuples], options))

    def apply(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> EagerResult[Any]:
        """Run the task in place, with its retries, as a worker would; nothing is sent or stored."""
        return self._sender.eager(
            self.name, () if args is None else args, kwargs or {}, call_options(self.name, options)
        )

    # -- as part of a workflow

    def s(self, *args: Any, **kwargs: Any) -> Call:
        """The call as a value, to be part of a workflow; what comes before it there is put before ``args``."""
        return Call(self.name, args, kwargs, app=self._sender)

    def si(self, *args: Any, **kwargs: Any) -> Call:
        """``s`` that takes nothing from what comes before it."""
        return Call(self.name, args, kwargs, immutable=True, app=self._sender)

    def signature(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Call:
        """``s`` with the options of ``apply_async``, as a mapping or by name, and ``immutable``."""
        call = Call(self.name, () if args is None else tuple(args), kwargs or {}, app=self._sender)
        chosen = {**(options or {}), **more}
        return call.set(**chosen) if chosen else call

    subtask = signature

    def map(self, it: Iterable[Any]) -> Call:
        """One message that calls the task for each of ``it``, one after the other; its value is the list of theirs."""
        return mapped(self.s(), it, star=False)

    def starmap(self, it: Iterable[Sequence[Any]]) -> Call:
        """``map`` over tuples of arguments."""
        return mapped(self.s(), it, star=True)

    def chunks(self, it: Iterable[Sequence[Any]], n: int) -> Group:
        """A group of messages that each call the task for ``n`` tuples of arguments."""
        return chunks(self.s(), it, n)

    def AsyncResult(self, task_id: str) -> Result:  # noqa: N802 - Celery's name
        """The result of an earlier call, by its id."""
        return AsyncResult(task_id, self._sender)

    def _calls(
        self, calls: Sequence[tuple[Sequence[Any], Mapping[str, Any]]], options: Mapping[str, Any]
    ) -> Flow[list[Result]]:
        if self.options.typing:
            for args, kwargs in calls:
                self.check_arguments(args, kwargs)
        return self._sender.call(self.name, calls, call_options(self.name, options))

    def check_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Whether the function takes these arguments; raises ``TypeError``."""
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"task {self.name}{self._signature}: {error}") from None


class BoundTask:
    """The ``self`` of a task declared with ``bind=True``: made for one run, and gone with it."""

    def __init__(self, task: Task[..., Any], invocation: Invocation, *, called_directly: bool = False) -> None:
        self._task = task
        self.name = task.name
        self.max_retries = task.options.max_retries
        from taskq_cloud.request import Request  # who only calls tasks runs none

        self.request = Request(invocation, called_directly)

    @property
    def app(self) -> Any:
        """The application."""
        return self._task._sender  # noqa: SLF001 - a view of the task

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        *,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
    ) -> NoReturn:
        """Run the task again later; never returns.

        Args:
            args: new positional arguments; None: the same.
            kwargs: new keyword arguments; None: the same.
            exc: the cause; raised where no retry is left.
            eta: when to run again.
            countdown: seconds until then; wins over ``eta``. None of both: ``default_retry_delay``.
            max_retries: instead of the task's; None: the task's.

        Raises:
            Retry: which the worker takes for what it is.
            MaxRetriesExceededError: no retry is left and there is no ``exc``.
        """
        most = self.max_retries if max_retries is None else max_retries
        if self.request.called_directly or retry.exhausted(self.request.retries, most):
            raise retry.no_retry_left(self.name, self.request.id, exc)
        raise Retry(
            exc=exc,
            when=eta if countdown is None else countdown,
            args=None if args is None else tuple(args),
            kwargs=kwargs,
            max_retries=max_retries,
        ) from exc

    def signature_from_request(
        self,
        request: Request | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
        **options: Any,
    ) -> Call:
        """The call that runs as a signature: with its id, its place in a workflow, and what follows it.

        Args:
            request: another call of the task; this one where None.
            args: other positional arguments; None: the same.
            kwargs: other keyword arguments; None: the same.
            queue: where it goes; where this call came from where None.
            options: more of ``apply_async``; they win.
        """
        of = self.request if request is None else request
        chosen = {**of.options, **({} if queue is None else {"queue": queue})}
        call = Call(
            self.name,
            tuple(of.args) if args is None else args,
            of.kwargs if kwargs is None else kwargs,
            chosen,
            app=self.app,
        )
        return call.set(**options) if options else call

    subtask_from_request = signature_from_request

    def replace(self, sig: Any) -> NoReturn:
        """Run ``sig`` instead of the task, of which nothing more is run: never returns.

        It takes the task's id, its place in a chain, group or chord, its callbacks and its errbacks. A group's
        values are collected into the task's. The task's arguments, options and retries are not kept.

        Args:
            sig: a signature, with all its arguments.

        Raises:
            Replaced: which the worker takes for what it is.
            TypeError: ``sig`` is no signature.
            ImproperlyConfigured: it has a place in a chord of its own, or is an empty chain.
            InvalidTaskError: it is no workflow.
            EncodeError: its arguments can't be serialised.
        """
        if self.request.called_directly:
            raise RuntimeError(
                f"task {self.name} was called as a function, so there is no message to replace: use delay() or apply()"
            )
        if added_to_chord.get():
            raise ImproperlyConfigured(
                f"task {self.name}: a run can't both add_to_chord() and replace(): let the replacement add"
            )
        raise Replaced(self._plain(sig, "replace()"))

    def add_to_chord(self, sig: Any, lazy: bool = False) -> Any:
        """Add ``sig`` to the chord whose header the task is a member of: the body waits for its value too.

        It is sent once the task has succeeded, and not if it fails or is retried. The body gets its value after those
        of the header.

        Args:
            sig: a signature, with all its arguments.
            lazy: it is not sent: the task does that itself, with what is returned.

        Returns:
            The ``AsyncResult`` of ``sig``; with ``lazy`` the signature to send.

        Raises:
            ValueError: the task is no member of a chord.
            TypeError, ImproperlyConfigured, InvalidTaskError, EncodeError: as for ``replace``.
        """
        message, added = self.request.invocation.message, added_to_chord.get()
        if message.embed.chord is None or added is None:
            raise ValueError(f"task {self.name}: add_to_chord(): the current task is not member of any chord")
        task_id, kept = chord_additions.with_id(message, self._plain(sig, "add_to_chord()"), added)
        if lazy:
            placed = chord_additions.lazily(message, task_id, kept, added)
            added.append({chord_additions.LAZY: task_id})
            return node_of(placed, "add_to_chord()", self.app)
        added.append(kept)
        return AsyncResult(task_id, self.app)

    def _plain(self, sig: Any, where: str) -> Signature:
        """A signature as the plain JSON that the pipeline takes; raises as ``replace`` does."""
        node = node_of(sig, f"task {self.name}: {where}")
        if getattr(node, "options", {}).get("chord") is not None:
            raise ImproperlyConfigured(
                f"task {self.name}: {where} takes no signature that is part of a chord: {node!r:.100}"
            )
        try:
            plain: Signature = serializers.loads(serializers.dumps(node.to_dict()))
        except EncodeError as error:
            raise EncodeError(f"task {self.name}: {where}: {node!r:.100} is {error}") from error
        if not signatures.parse(plain):
            raise ImproperlyConfigured(f"task {self.name}: {where} takes no empty chain")
        return plain

    def update_state(self, state: str, meta: Any = None) -> None:
        """Record a state of the task's own (``"PROGRESS"``) with any JSON value; ignored once it has ended."""
        sender = self._task._sender  # noqa: SLF001
        sender.run(sender.store.save([self._record(state, meta)]))

    async def aupdate_state(self, state: str, meta: Any = None) -> None:
        """``update_state`` on an event loop."""
        sender = self._task._sender  # noqa: SLF001
        await sender.arun(sender.store.save([self._record(state, meta)]))

    def _record(self, state: str, meta: Any) -> Record:
        if state in record.READY_STATES:
            raise ValueError(f"task {self.name}: a task ends by returning or raising, not by update_state({state!r})")
        message = self.request.invocation.message
        payload = document.encode(message, state, serializers.dumps(meta), now=0)
        return Record(
            id=message.id,
            state=state,
            version=version_of(state, message.attempt),
            payload=payload,
            expires_at=self._task._sender.result_expires_at(),  # noqa: SLF001
            fence=self.request.invocation.fence,
        )


def current_request() -> Request | None:
    """The call that runs in this context; None outside a task."""
    from taskq_cloud.request import Request  # likewise

    invocation = current_invocation.get()
    return None if invocation is None else Request(invocation)
