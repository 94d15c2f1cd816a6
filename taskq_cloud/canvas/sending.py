"""The methods that send a workflow, or run it in place (``Sendable``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, Unpack, cast

from taskq_cloud.calling.options import CallKeywords
from taskq_cloud.core.model.message import Args, Kwargs, Options, Signature
from taskq_cloud.runtime.protocols import Application

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    from taskq_cloud.calling.workflows import WorkflowResult
    from taskq_cloud.results.async_result import AsyncResult
    from taskq_cloud.results.group_result import GroupResult

AnyResult: TypeAlias = "AsyncResult[Any] | GroupResult | Any"
"""The result of a workflow's last task or last group.

An empty chain has no result. Its None is ``Any`` here, so that the callers of other chains need not check for it.
Source: Typing documentation, "Writing and Maintaining Stub Files", "The Any trick".
"""

if TYPE_CHECKING:
    R_co = TypeVarWithDefault("R_co", bound=AnyResult, default=AnyResult, covariant=True)
else:
    R_co = TypeVar("R_co", covariant=True)  # Python 3.13 is the first whose type variables have defaults


class Sendable(Generic[R_co]):
    """A workflow that can be sent or run in place; ``R_co`` is the class of its result."""

    __slots__ = ()

    def delay(self, *args: object, **kwargs: object) -> R_co:
        """Send the workflow with these arguments for its first task: see ``apply_async``."""
        return self.apply_async(args, kwargs)

    async def adelay(self, *args: object, **kwargs: object) -> R_co:
        """Send the workflow with these arguments for its first task, on an event loop: see ``apply_async``."""
        return await self.aapply_async(args, kwargs)

    def apply_async(
        self, args: Args | None = None, kwargs: Kwargs | None = None, **options: Unpack[CallKeywords]
    ) -> R_co:
        """Send the messages that the workflow begins with. Each message carries the signatures of the tasks after it.

        Args:
            args: put before the arguments of the first task, or of every task of a first group.
            kwargs: added to the keyword arguments of the first task, or of every task of a first group.
            options: as for ``set``; ``link`` and ``link_error`` too.

        Returns:
            The ``AsyncResult`` of the last task, or the ``GroupResult`` of the last group; ``parent`` leads to the
            results of the tasks and groups before it. None for an empty chain.

        Raises:
            TypeError: a task that is registered here doesn't take its arguments, or an option is unknown.
            InvalidTaskError: the workflow nests too deeply.
            ImproperlyConfigured: there is a chord, and the result store can't count its members.
            EncodeError, PayloadTooLarge, OperationalError: as for ``Task.apply_async``.
        """
        from taskq_cloud.calling import workflows  # few processes send workflows

        written, app = self._written_with(args, kwargs, options), self.find_app()
        if app is None or app.conf.task_always_eager:
            return self._run_in_place(app, written)
        return self._own_result(app.run(workflows.send(app, written)))

    async def aapply_async(
        self, args: Args | None = None, kwargs: Kwargs | None = None, **options: Unpack[CallKeywords]
    ) -> R_co:
        """Send the messages that the workflow begins with, on an event loop: see ``apply_async``."""
        from taskq_cloud.calling import workflows  # few processes send workflows

        written, app = self._written_with(args, kwargs, options), self.find_app()
        if app is None or app.conf.task_always_eager:
            return self._run_in_place(app, written)
        return self._own_result(await app.arun(workflows.send(app, written)))

    def apply(self, args: Args | None = None, kwargs: Kwargs | None = None, **options: Unpack[CallKeywords]) -> R_co:
        """Run the workflow in place, one task after the other; no message is sent and no result is stored."""
        written = self._written_with(args, kwargs, options)
        return self._run_in_place(self.find_app(), written)

    def __invert__(self) -> Any:
        """Send the workflow and wait for its value: ``~sig`` is ``sig.apply_async().get()``."""
        return self.apply_async().get()

    def find_app(self) -> Application | None:
        """Find the application: the workflow's own, or else that of a task in it; None if no task has one."""
        raise NotImplementedError

    def _written_with(self, args: Args | None, kwargs: Kwargs | None, options: Options) -> Signature:
        """Write the workflow as plain JSON, with further arguments and options."""
        raise NotImplementedError

    def _run_in_place(self, app: Application | None, written: Signature) -> R_co:
        """Run a workflow in place; without a task in it, it needs no application."""
        if app is not None:
            from taskq_cloud.calling import eager_workflows  # few processes run anything in place

            return self._own_result(eager_workflows.run_workflow(app, written))
        from taskq_cloud.canvas import empty  # few workflows are empty

        if not empty.is_empty(written):
            raise self._no_application()
        return self._own_result(empty.result_of(written))

    def _no_application(self) -> RuntimeError:
        return RuntimeError(
            f"{self!r} doesn't belong to an application: make it with a task's .s(...), or with app.signature(...)"
        )

    def _own_result(self, result: WorkflowResult) -> R_co:
        # A group ends in a GroupResult, a call in an AsyncResult: the type of the function that sends them can't tell.
        return cast("R_co", result)
