"""The ``self`` of a bound task, by which a function sees and controls its own run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Unpack, overload

from taskq_cloud.canvas import Call
from taskq_cloud.canvas.workflow import node_of
from taskq_cloud.core import serializers
from taskq_cloud.core.execution import retry
from taskq_cloud.core.execution.run_context import added_to_chord, current_invocation
from taskq_cloud.core.messages.headers import header_clash
from taskq_cloud.core.model.message import Signature
from taskq_cloud.core.model.option_keywords import RetryKeywords
from taskq_cloud.core.model.options import first_given, retry_arguments
from taskq_cloud.core.model.outcome import Invocation
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.records import document, record
from taskq_cloud.core.records.record import Record, version_of
from taskq_cloud.core.workflows import signatures
from taskq_cloud.errors import (
    EncodeError,
    ImproperlyConfigured,
    InvalidTaskError,
    OptionError,
    Replaced,
    Retry,
    SecurityError,
)
from taskq_cloud.results.async_result import AsyncResult
from taskq_cloud.runtime.protocols import Application

if TYPE_CHECKING:
    from taskq_cloud.request import Request


class BoundTask:
    """The ``self`` of a task that was declared with ``bind=True``. Each run has its own.

    Args:
        app: the application.
        definition: the task's name, function and options.
        invocation: the run.
        called_directly: whether the task was called as a function, without a message.
    """

    def __init__(
        self, app: Application, definition: TaskDefinition, invocation: Invocation, *, called_directly: bool = False
    ) -> None:
        from taskq_cloud.request import Request  # a process that only calls tasks runs none

        self._app = app
        self.name = definition.name
        self.max_retries = definition.options.max_retries
        self.request = Request(invocation, called_directly)

    @property
    def app(self) -> Any:
        """The application."""
        return self._app

    @overload
    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | type[BaseException] | None = None,
        throw: Literal[True] = True,
        **options: Unpack[RetryKeywords],
    ) -> NoReturn: ...

    @overload
    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | type[BaseException] | None = None,
        *,
        throw: Literal[False],
        **options: Unpack[RetryKeywords],
    ) -> Retry: ...

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | type[BaseException] | None = None,
        throw: bool = True,
        **options: Unpack[RetryKeywords],
    ) -> Retry:
        """Run the task again later. This method raises an exception, unless ``throw`` is False.

        Args:
            args: new positional arguments; None: the arguments of this run.
            kwargs: new keyword arguments; None: the arguments of this run. With ``args`` None, a keyword argument takes
                the place of the positional argument for its parameter.
            exc: the exception that caused the retry, or its class; it is raised if no retry is left.
            throw: False returns the exception that asks for the retry, and the task has to raise it.
            options: ``countdown`` or ``eta``: when to run again; without both: ``default_retry_delay``.
                ``max_retries``: the number of retries that are allowed; None: the task's own. And options of
                ``apply_async``, such as ``queue``, for the next run; the others stay as they are.

        Raises:
            Retry: tells the worker to send the next attempt.
            MaxRetriesExceededError: no retry is left, and there is no ``exc``.
            OptionError: an argument is unknown, or has an impossible value.
        """
        cause = retry.instance_of(exc)
        try:
            checked = self._checked_retry(args, kwargs, options)
        except OptionError as wrong:
            raise wrong from cause
        most = checked.pop("max_retries", self.max_retries)
        if self.request.called_directly or retry.exhausted(self.request.retries, most):
            raise retry.no_retry_left(self.name, self.request.id, cause)
        when = first_given(checked.pop("countdown", None), checked.pop("eta", None))
        request = Retry(
            exc=cause,
            when=when,
            args=None if args is None else tuple(args),
            kwargs=kwargs,
            max_retries=most,
            options=checked,
        )
        if throw:
            raise request from cause
        request.__cause__ = cause
        return request

    def _checked_retry(self, args: object, kwargs: object, options: Mapping[str, Any]) -> dict[str, Any]:
        where = f"task {self.name}: retry()"
        if not isinstance(args, list | tuple | None) or not _has_names(kwargs):
            raise OptionError(f"{where}: args must be a list or tuple, and kwargs a mapping of names to values")
        checked = retry_arguments(options, where)
        if clash := header_clash(checked.get("headers")):
            raise OptionError(f"{where}: {clash}")
        return checked

    def signature_from_request(
        self,
        request: Request | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
        **options: Any,
    ) -> Call:
        """Make a signature of the running call, with its id, its place in a workflow and the tasks that follow it.

        Args:
            request: the request of another call of the task; None: the running call's.
            args: other positional arguments; None: the call's own.
            kwargs: other keyword arguments; None: the call's own.
            queue: the queue; None: the queue that the call came from.
            options: further options of ``apply_async``; they come before the call's own.
        """
        of = self.request if request is None else request
        chosen = {**of.options, **({} if queue is None else {"queue": queue})}
        call = Call(
            self.name,
            tuple(of.args) if args is None else args,
            of.kwargs if kwargs is None else kwargs,
            chosen,
            app=self._app,
        )
        return call.set(**options) if options else call

    subtask_from_request = signature_from_request

    def replace(self, sig: Any) -> NoReturn:
        """Run another task or workflow instead of the rest of this task. This method never returns: it raises.

        The replacement takes the task's id, its place in a chain, group or chord, its callbacks and its errbacks. The
        values of a group are collected into one value. The task's arguments, options and retries are not kept.

        Args:
            sig: the signature of the replacement, with all its arguments.

        Raises:
            Replaced: tells the worker to send the replacement.
            RuntimeError: the task was called as a function, so there is no message to replace.
            TypeError: ``sig`` is not a signature.
            ImproperlyConfigured: ``sig`` has a place in another chord, or is an empty chain, or the run has called
                ``add_to_chord``.
            InvalidTaskError: ``sig`` is not a workflow.
            EncodeError: the arguments of ``sig`` can't be serialised.
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
        """Add a task or workflow to the chord whose header this task is a member of. The body then waits for it too.

        ``sig`` is sent once this task has succeeded. It is not sent if the task fails or is retried. The body gets its
        value after the values of the header.

        Args:
            sig: a signature, with all its arguments.
            lazy: True leaves it to the task to send the returned signature.

        Returns:
            The ``AsyncResult`` of ``sig``; with ``lazy`` the signature to send.

        Raises:
            ValueError: the task is not a member of a chord.
            TypeError: ``sig`` is not a signature.
            ImproperlyConfigured: ``sig`` has a place in another chord, or is an empty chain.
            InvalidTaskError: ``sig`` is not a workflow.
            EncodeError: the arguments of ``sig`` can't be serialised.
            SecurityError: ``lazy`` is set, and the task's message was accepted without a signature.
        """
        from taskq_cloud.core.workflows import chord_additions  # few tasks add to their chord

        message, added = self.request.invocation.message, added_to_chord.get()
        if message.embed.chord is None or added is None:
            raise ValueError(f"task {self.name}: add_to_chord(): this call is not a member of a chord's header")
        if lazy and message.unsigned:
            raise SecurityError(
                f"task {self.name}: add_to_chord(lazy=True): the message came unsigned, and this call would be sent "
                "with a signature and carry the body of its chord: leave lazy out, or sign the caller's messages"
            )
        task_id, kept = chord_additions.with_id(message, self._plain(sig, "add_to_chord()"), added)
        if lazy:
            placed = chord_additions.with_place(message, task_id, kept, added)
            added.append({chord_additions.LAZY: task_id})
            return node_of(placed, "add_to_chord()", self._app)
        added.append(kept)
        return AsyncResult(task_id, self._app)

    def update_state(self, state: str, meta: Any = None) -> None:
        """Record a custom state of the task, such as ``"PROGRESS"``.

        It has no effect once the task has ended, nor in place, where no result is stored.

        Args:
            state: the state's name.
            meta: any JSON value, which ``AsyncResult.result`` then shows.

        Raises:
            ValueError: the state is SUCCESS, FAILURE or REVOKED.
        """
        record = self._record(state, meta)
        if not self.request.is_eager:
            self._app.run(self._app.store.save([record]))

    async def aupdate_state(self, state: str, meta: Any = None) -> None:
        """Record a custom state of the task, on an event loop: see ``update_state``."""
        record = self._record(state, meta)
        if not self.request.is_eager:
            await self._app.arun(self._app.store.save([record]))

    def _plain(self, sig: Any, where: str) -> Signature:
        """Write a signature as the plain JSON that the pipeline takes; raises as ``replace`` does."""
        node = node_of(sig, f"task {self.name}: {where}")
        if getattr(node, "options", {}).get("chord") is not None:
            raise ImproperlyConfigured(
                f"task {self.name}: {where} takes no signature that is part of a chord: {node!r:.100}"
            )
        try:
            plain: Signature = serializers.loads(serializers.dumps(node.to_dict()))
        except EncodeError as error:
            raise EncodeError(f"task {self.name}: {where}: {node!r:.100} is {error}") from error
        try:
            stages = signatures.parse(plain)
        except InvalidTaskError as error:
            raise InvalidTaskError(f"task {self.name}: {where}: {error}") from error
        if not stages:
            raise ImproperlyConfigured(f"task {self.name}: {where} takes no empty chain")
        return plain

    def _record(self, state: str, meta: Any) -> Record:
        if state in record.READY_STATES:
            raise ValueError(f"task {self.name}: a task ends by returning or raising, not by update_state({state!r})")
        message = self.request.invocation.message
        return Record(
            id=message.id,
            state=state,
            version=version_of(state, message.attempt),
            payload=document.encode(message, state, serializers.dumps(meta), now=0),
            expires_at=self._app.result_expires_at(),
            fence=self.request.invocation.fence,
        )


def _has_names(kwargs: object) -> bool:
    return kwargs is None or (isinstance(kwargs, Mapping) and all(isinstance(name, str) for name in kwargs))


def current_request() -> Request | None:
    """Return the request of the task that runs in this context; None outside a task."""
    from taskq_cloud.request import Request  # a process that only calls tasks runs none

    invocation = current_invocation.get()
    return None if invocation is None else Request(invocation)
