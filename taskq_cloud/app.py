"""The application: tasks are declared on it, called through it, and run by its workers, functions and endpoints."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, Unpack, overload

from taskq_cloud.beat.application import PeriodicTasks
from taskq_cloud.beat.decorator import define
from taskq_cloud.task import Task

if TYPE_CHECKING:
    from taskq_cloud.calling.options import CallKeywords
    from taskq_cloud.calling.transaction import Transaction
    from taskq_cloud.deploy.topology.model import Topology
    from taskq_cloud.results.async_result import AsyncResult
    from taskq_cloud.results.group_result import GroupResults
    from taskq_cloud.results.result_set import ResultSet
    from taskq_cloud.runtime.runtime import Runtime
    from taskq_cloud.serverless.push_endpoint import PushEndpoint
    from taskq_cloud.serverless.push_options import PushOptions
    from taskq_cloud.task import Args, DeclarationKeywords, Kwargs, TaskId

P = ParamSpec("P")
R = TypeVar("R")


class TaskQ(PeriodicTasks):
    """An application, on which tasks are declared and through which they are called.

    Settings are read, connections opened and SDKs imported when they are first needed. A wrong setting raises
    ``ImproperlyConfigured`` then.

    Args:
        main: the application's name. It replaces ``__main__`` in the names of tasks that a script declares.
        hooks: one object of a subclass of ``Hooks``, or several, called around all tasks: see docs/hooks.md.
        components: one object of a subclass of ``Component``, or several, which all workers run: see docs/workers.md.
        settings: settings by name: see docs/settings.md. They come before the environment and ``.env``.
    """

    tasks: dict[str, Task[..., Any]]

    # A narrower type of hooks and components would refuse TaskQ(**settings) for a dict[str, str].
    def __init__(self, main: str | None = None, *, hooks: Any = (), components: Any = (), **settings: Any) -> None:
        super().__init__(main, settings, hooks, components)

    def __repr__(self) -> str:
        return f"<TaskQ {self.main or '(unnamed)'}: {len(self.tasks)} tasks>"

    # -- declaring

    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...

    @overload
    def task(
        self, *, name: str | None = None, bind: Literal[False] = False, **options: Unpack[DeclarationKeywords]
    ) -> Callable[[Callable[P, R]], Task[P, R]]: ...

    @overload
    def task(
        self, *, name: str | None = None, bind: Literal[True], **options: Unpack[DeclarationKeywords]
    ) -> Callable[[Callable[Concatenate[Any, P], R]], Task[P, R]]: ...

    def task(self, *functions: Callable[..., Any], name: str | None = None, bind: bool = False, **options: Any) -> Any:
        """Declare a task: ``@app.task`` or ``@app.task(option=...)``, on a function or a coroutine function.

        Args:
            functions: the function, if the decorator is used without options.
            name: the task's name in messages; None: ``module.function``.
            bind: True passes a ``BoundTask`` to the function as its first argument.
            options: the task's options: see docs/tasks.md. ``every``, ``cron`` or ``schedule`` makes the task periodic:
                see docs/periodic-tasks.md.

        Raises:
            ImproperlyConfigured: an option is unknown, or its value is not supported.
            AlreadyRegistered: another function has the task's name.
            TypeError: the decorated object is not a function.
        """
        if not functions:
            return lambda function: self._declare(function, name, options, bind=bind)
        if len(functions) > 1:
            raise TypeError("@app.task takes options by keyword only")
        return self._declare(functions[0], name, options, bind=bind)

    def _declare(
        self, function: Callable[..., Any], name: str | None, options: Mapping[str, Any], *, bind: bool
    ) -> Task[..., Any]:
        definition, periodic = define(self, function, name, options, bind=bind)
        task: Task[..., Any] = Task(self, definition, bound=bind)
        self.register(task, options.get("hooks") or ())
        self.add_declarations(periodic)
        return task

    # -- calling

    def send_task(
        self, name: str, args: Args = None, kwargs: Kwargs = None, **options: Unpack[CallKeywords]
    ) -> AsyncResult[Any]:
        """Call a task by its name, as ``Task.apply_async`` does. The task need not be registered here."""
        from taskq_cloud.calling.tasks import send_named  # not every process calls tasks

        return self.run(send_named(self, name, args, kwargs, options))

    async def asend_task(
        self, name: str, args: Args = None, kwargs: Kwargs = None, **options: Unpack[CallKeywords]
    ) -> AsyncResult[Any]:
        """Call a task by its name, on an event loop: see ``send_task``."""
        from taskq_cloud.calling.tasks import send_named

        return await self.arun(send_named(self, name, args, kwargs, options))

    def transaction(self, connection: Any) -> Transaction:
        """Send the calls of a block in a database transaction of your own: see docs/postgresql.md.

        A call is there for the workers once the transaction is committed, and gone if it is rolled back. The broker
        has to be PostgreSQL, and the connection has to lead to its database.

        Args:
            connection: a connection of psycopg 3, asyncpg, SQLAlchemy or Django, or the alias of one of Django's.
        """
        from taskq_cloud.calling.transaction import Transaction  # few processes have one

        return Transaction(self, connection)

    def signature(
        self, task: Any, args: Args = None, kwargs: Kwargs = None, options: Kwargs = None, **more: Any
    ) -> Any:
        """Make a signature of this application: see ``taskq_cloud.signature``. The task need not be registered here."""
        from taskq_cloud import canvas  # few processes make workflows

        return canvas.signature(task, args, kwargs, options, app=self, **more)

    def AsyncResult(self, task_id: TaskId, parent: Any = None) -> AsyncResult[Any]:
        """Return the result of an earlier call, by the task's id."""
        from taskq_cloud.results.async_result import AsyncResult  # not every process has to do with results

        return AsyncResult(task_id, self, parent=parent)

    @property
    def GroupResult(self) -> GroupResults:
        """The results of saved groups: ``app.GroupResult(id)`` and ``app.GroupResult.restore(id)``."""
        from taskq_cloud.results.group_result import GroupResults  # few processes read groups

        return GroupResults(self)

    def ResultSet(self, results: Iterable[Any]) -> ResultSet:
        """Combine several results into one ``ResultSet``."""
        from taskq_cloud.results.result_set import ResultSet  # few processes read several results as one

        return ResultSet(results, self)

    # -- serving

    def runtime(
        self, *, hostname: str | None = None, patience_seconds: float | None = None, app_path: str | None = None
    ) -> Runtime:
        """Make the part of the application that a worker or a handler needs to run its tasks.

        Args:
            hostname: the worker's name; None: a name that is made from the machine's.
            patience_seconds: how long a finished run waits for a silent store; None: ``worker_patience``.
            app_path: the path from which the children of a process pool import the application: ``"shop:app"``.

        Raises:
            ImproperlyConfigured: a setting is wrong, or the result store can't keep a rate limit.
        """
        from taskq_cloud.runtime.runtime import make_runtime  # callers serve nothing

        return make_runtime(self, hostname, patience_seconds, app_path)

    def lambda_handler(self) -> Callable[[Any, Any], Any]:
        """Make the handler of an AWS Lambda function that runs this application's tasks: see docs/lambda.md."""
        from taskq_cloud.serverless.aws_lambda import make_handler  # only a function needs it

        function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        return make_handler(self.runtime(hostname=f"lambda@{function}" if function else None, patience_seconds=0))

    def pubsub_push_handler(self, **options: Unpack[PushOptions]) -> PushEndpoint:
        """Make the endpoint to which Pub/Sub pushes this application's messages, as a WSGI and an ASGI application.

        Args:
            options: the endpoint's options: see docs/pubsub.md. ``audience`` and ``service_account`` are required.

        Raises:
            ImproperlyConfigured: an option is wrong.
            TypeError: an option is missing or unknown.
        """
        from taskq_cloud.serverless.push_options import make_endpoint  # only an endpoint needs it

        name = os.environ.get("K_SERVICE")
        return make_endpoint(self.runtime(hostname=f"run@{name}" if name else None, patience_seconds=0), **options)

    def topology(self, *, app_path: str | None = None) -> Topology:
        """Describe the cloud resources that this application needs: see docs/topology.md.

        Args:
            app_path: the path from which functions and containers import the application: ``"shop:app"``.

        Raises:
            ImproperlyConfigured: the application can't be deployed as it is; the error says what to change.
        """
        from taskq_cloud.beat.apply import schedules_for_terraform
        from taskq_cloud.deploy.topology.build import build  # no runtime needs it

        return build(self, app_path, lambda: schedules_for_terraform(self, self.schedule_entries()))
