"""The application: tasks are declared on it, called through it, and served by the runtimes it describes."""

from __future__ import annotations

import importlib
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeAlias, TypeVar, overload

from taskq_cloud import canvas
from taskq_cloud.brokers.registry import broker_from_url
from taskq_cloud.calling.options import CallOptions, call_options, make_message, make_transport
from taskq_cloud.clients.connections import AsyncConnections, Connections
from taskq_cloud.core.execution.builtins import builtin_tasks
from taskq_cloud.core.execution.runner import TaskRunner, note_called
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy import lazy
from taskq_cloud.core.messages import sending
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.options import TaskOptions, task_options
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.payloads.policy import Payloads
from taskq_cloud.core.ports import Broker, ResultStore, ScheduleStore, Service
from taskq_cloud.errors import AlreadyRegistered, ImproperlyConfigured, SendError
from taskq_cloud.request import Request
from taskq_cloud.results.async_result import AsyncResult, EagerResult
from taskq_cloud.results.group_result import GroupResults
from taskq_cloud.results.result_set import ResultSet
from taskq_cloud.runtime.codec import codec_from_settings, payloads_from_settings
from taskq_cloud.stores.results.registry import store_from_url
from taskq_cloud.task import BoundTask, Task

if TYPE_CHECKING:
    from taskq_cloud.beat.declarations import Signal
    from taskq_cloud.core.messages.routing import Router
    from taskq_cloud.core.model.platform_schedule import PlatformSchedule
    from taskq_cloud.core.schedules.entry import ScheduleEntry
    from taskq_cloud.deploy.topology.model import Topology
    from taskq_cloud.runtime.runtime import Runtime
    from taskq_cloud.serverless.pubsub_push import PushEndpoint
    from taskq_cloud.settings import Settings

Result: TypeAlias = AsyncResult[Any]
_PERIODIC = frozenset(
    {"every", "cron", "schedule", "timezone", "enabled", "start", "end", "jitter", "overlap", "catch_up"}
)
"""Options of a task that are a periodic one's: those of ``periodic.DECORATOR_OPTIONS`` that nothing else can mean."""
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class TaskQ:
    """An application.

    Args:
        main: its name; it stands for ``__main__`` in the names of tasks that a script declares.
        settings: any of ``taskq_cloud.settings.Settings``; they win over the environment and ``.env``.

    Nothing is read, opened or imported until it is needed; a wrong setting is an ``ImproperlyConfigured`` then.
    """

    def __init__(self, main: str | None = None, **settings: Any) -> None:
        self.main = main
        self.tasks: dict[str, Task[..., Any]] = {}
        self._definitions: dict[str, TaskDefinition] = {}
        self._definitions |= builtin_tasks(self._definitions)
        self._given = settings
        self.runner = TaskRunner(self._definitions)
        self._periodic: list[Any] = []

    def __repr__(self) -> str:
        return f"<TaskQ {self.main or '(unnamed)'}: {len(self.tasks)} tasks>"

    # -- declaring

    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...

    @overload
    def task(
        self, *, name: str | None = None, bind: Literal[False] = False, **options: Any
    ) -> Callable[[Callable[P, R]], Task[P, R]]: ...

    @overload
    def task(
        self, *, name: str | None = None, bind: Literal[True], **options: Any
    ) -> Callable[[Callable[Concatenate[Any, P], R]], Task[P, R]]: ...

    def task(self, *functions: Callable[..., Any], name: str | None = None, bind: bool = False, **options: Any) -> Any:
        """Declare a task: ``@app.task`` or ``@app.task(option=...)``, on a function or a coroutine function.

        Args:
            functions: what it runs: one, where the decorator is used without options.
            name: its name on the wire; ``module.function`` where None.
            bind: the function gets a ``taskq_cloud.task.BoundTask`` as its first argument.
            options: any of ``taskq_cloud.core.model.options.TaskOptions``; and, of a periodic task, ``every``,
                ``cron`` or ``schedule``, with ``args``, ``kwargs``, ``options`` (of each call), ``timezone``,
                ``enabled``, ``start``, ``end``, ``jitter``, ``overlap`` and ``catch_up``: see docs/periodic-tasks.md.

        Raises:
            ImproperlyConfigured: an option is unknown or can't be honoured.
            AlreadyRegistered: another function has that name.
            TypeError: what is decorated is no function.
        """
        if not functions:
            return lambda function: self._register(function, name, bind, options)
        if len(functions) > 1:
            raise TypeError("@app.task takes options by keyword only")
        return self._register(functions[0], name, bind, options)

    def _register(
        self, function: Callable[..., Any], name: str | None, bind: bool, options: Mapping[str, Any]
    ) -> Task[..., Any]:
        if not (callable(function) and hasattr(function, "__name__")):
            raise TypeError(f"@app.task decorates a function, not {function!r}; its options are keyword arguments")
        name = name or self.gen_task_name(function.__name__, function.__module__)
        periodic: Any = None
        if not _PERIODIC.isdisjoint(options):
            from taskq_cloud.beat.declarations import of_decorator  # most tasks are not periodic

            options = dict(options)
            periodic = of_decorator(name, options)
        known = self._definitions.get(name)
        if known is not None and getattr(known.function, "__code__", None) is not getattr(function, "__code__", None):
            raise AlreadyRegistered(
                f"task {name!r} is already {known.function.__module__}.{known.function.__qualname__}; give one of the "
                "two a name=... of its own"
            )
        definition = TaskDefinition(
            name, function, task_options(name, options), (lambda run: BoundTask(task, run)) if bind else None, Request
        )
        if definition.options.rate_key is not None:
            from taskq_cloud.core.execution.steps.rate_limits import check_key  # few have one

            check_key(definition)
        task: Task[..., Any] = Task(self, definition, bound=bind)
        self._definitions[name] = definition
        self.tasks[name] = task
        if periodic is not None:
            self._periodic.append(periodic)
        return task

    def gen_task_name(self, name: str, module: str) -> str:
        """The name of a task that is given none, as Celery makes it."""
        return f"{self.main if module == '__main__' and self.main else module}.{name}"

    # -- declaring what is periodic

    @lazy
    def on_after_configure(self) -> Signal:
        """Celery's signal: functions connected to it are called once, with ``sender=app``, before entries are made."""
        from taskq_cloud.beat.declarations import Signal  # most applications have none

        return Signal()

    @property
    def on_after_finalize(self) -> Signal:
        """The same as ``on_after_configure``."""
        return self.on_after_configure

    def add_periodic_task(
        self,
        schedule: Any,
        sig: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        **opts: Any,
    ) -> str:
        """Declare a periodic task, as in Celery; returns its name.

        Args:
            schedule: a ``taskq_cloud.schedules`` schedule, a timedelta or a number of seconds.
            sig: a task's signature, or a task.
            args: put before the signature's arguments.
            kwargs: beside the signature's.
            name: its own; made from the signature where None.
            opts: options of each call, and ``enabled``, ``timezone``, ``start``, ``end``, ``jitter``, ``overlap`` and
                ``catch_up``: see docs/periodic-tasks.md.

        Raises:
            ScheduleError: it is a workflow of several tasks.
        """
        from taskq_cloud.beat.declarations import of_call  # most applications have none

        declared = of_call(schedule, sig, args, kwargs or {}, name, **opts)
        self._periodic.append(declared)
        return declared.name

    def schedule_entries(self) -> list[ScheduleEntry]:
        """Every periodic task, by name: those of ``beat_schedule``, ``add_periodic_task`` and ``@app.task``.

        Raises:
            ScheduleError: one can't be had as it is declared, or two have one name.
        """
        from taskq_cloud.beat.declarations import entries_of  # most processes don't ask

        self.import_modules()
        self.on_after_configure.send_once(self)
        return entries_of(self, self._periodic)

    def is_registered(self, task: str) -> bool:
        """Whether a task of that name, or one that every application has, can be run here."""
        return task in self._definitions

    # -- calling

    def send_task(
        self, name: str, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Result:
        """Call a task by its name, whether it is registered here or not; raises as ``Task.apply_async`` does."""
        (result,) = self.run(
            self.call(name, [(() if args is None else args, kwargs or {})], call_options(name, options))
        )
        return result

    async def asend_task(
        self, name: str, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Result:
        """``send_task`` on an event loop."""
        (result,) = await self.arun(
            self.call(name, [(() if args is None else args, kwargs or {})], call_options(name, options))
        )
        return result

    def AsyncResult(self, task_id: str, parent: Any = None) -> Result:  # noqa: N802 - Celery's name
        """The result of an earlier call, by its id."""
        return AsyncResult(task_id, self, parent=parent)

    def call(
        self, name: str, calls: Sequence[tuple[Sequence[Any], Mapping[str, Any]]], options: CallOptions
    ) -> Flow[list[Result]]:
        """Send one task's calls, in as few requests as the broker allows; every public way of calling ends here.

        Raises:
            SendError: of several calls, some were not accepted.
            OperationalError: the one call was not accepted.
        """
        if len(calls) != 1 and (options.task_id is not None or options.MessageDeduplicationId is not None):
            one = "task_id" if options.task_id is not None else "MessageDeduplicationId"
            raise TypeError(f"task {name}: one {one} for {len(calls)} calls")
        task = self.options_of(name)
        queue = options.queue or self.route(name)
        transport = make_transport(options, task)
        messages = [make_message(name, args, kwargs, options, task) for args, kwargs in calls]
        now = time.time()
        capabilities = self.broker.capabilities
        scheduler = self.scheduler
        schedules = None if scheduler is None else scheduler.capabilities
        addressed = [
            sending.address(self.codec, each, queue, capabilities, now, transport, schedules) for each in messages
        ]
        answers = yield from sending.send(self.codec, self.broker, addressed, scheduler)
        ignored = bool(
            next(v for v in (options.ignore_result, task.ignore_result, self.conf.task_ignore_result) if v is not None)
        )
        results: list[Result] = [AsyncResult(message.id, self, ignored=ignored) for message in messages]
        failures = {i: answer.error for i, answer in enumerate(answers) if isinstance(answer, Refused)}
        if options.add_to_parent and not ignored:
            note_called(message.id for i, message in enumerate(messages) if i not in failures)
        if failures:
            first = failures[min(failures)]
            if len(calls) == 1:
                first.add_note(f"task {name}[{messages[0].id}] was not sent")
                raise first
            raise SendError(
                f"{len(failures)} of {len(calls)} calls of task {name} were not accepted by queue {queue!r}; "
                f"the first: {first}",
                failures,
                [None if i in failures else result for i, result in enumerate(results)],
            ) from first
        return results

    def apply_workflow(self, signature: Mapping[str, Any]) -> Any:
        """Send a workflow; raises as ``canvas``'s ``apply_async`` does."""
        from taskq_cloud.calling import workflows  # few processes send workflows

        if self.always_eager:
            return self.eager_workflow(signature)
        return self.run(workflows.send(self, signature))

    async def aapply_workflow(self, signature: Mapping[str, Any]) -> Any:
        """``apply_workflow`` on an event loop."""
        from taskq_cloud.calling import workflows  # few processes send workflows

        if self.always_eager:
            return self.eager_workflow(signature)
        return await self.arun(workflows.send(self, signature))

    def eager_workflow(self, signature: Mapping[str, Any]) -> Any:
        """Run a workflow in place."""
        from taskq_cloud.calling import eager_workflows  # most processes run nothing in place

        return eager_workflows.run_workflow(self, signature)

    def signature(
        self,
        task: Any,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Any:
        """A workflow of this application: see ``canvas.signature``. A name need not be registered here."""
        return canvas.signature(task, args, kwargs, options, app=self, **more)

    @property
    def GroupResult(self) -> GroupResults:  # noqa: N802 - Celery's name
        """``app.GroupResult(id)`` and ``app.GroupResult.restore(id)``: the result of a group that was saved."""
        return GroupResults(self)

    def ResultSet(self, results: Iterable[Any]) -> ResultSet:  # noqa: N802 - Celery's name
        """Several results as one."""
        return ResultSet(results, self)

    def check_arguments(self, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Whether a task that is registered here, with ``typing``, takes these arguments; raises ``TypeError``."""
        known = self.tasks.get(task)
        if known is not None and known.options.typing:
            known.check_arguments(args, kwargs)

    @property
    def always_eager(self) -> bool:
        """Whether calls run in place (``task_always_eager``)."""
        return self.conf.task_always_eager

    def eager(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: CallOptions
    ) -> EagerResult[Any]:
        """Run a task in place, with its retries; its arguments and its result take the way through JSON.

        Raises:
            Exception: the task's own, with ``task_eager_propagates``.
        """
        from taskq_cloud.calling import eager_workflows  # most processes run nothing in place
        from taskq_cloud.calling.eager import run_in_place

        message = make_message(name, args, kwargs, options, self.options_of(name))
        state = run_in_place(self.runner, message, partial(eager_workflows.replace_here, self))
        result: EagerResult[Any] = EagerResult(message.id, self, state)
        eager_workflows.follow_here(self, result, message)
        if self.conf.task_eager_propagates:
            result.get()
        return result

    # -- what it works with

    @lazy
    def conf(self) -> Settings:
        """The settings, read when first asked for."""
        from taskq_cloud.settings import load_settings  # importing pydantic takes longer than all of this package

        return load_settings(self._given)

    @lazy
    def broker(self) -> Broker:
        """The message broker."""
        return broker_from_url(self.conf.broker, self.conf.broker_transport_options)

    @lazy
    def store(self) -> ResultStore:
        """The result store; with a bucket for payloads, its records may be as large as those."""
        store = store_from_url(self.conf.results_url(), {})
        if self.payloads is None or not store.capabilities.keeps_records:
            return store
        from taskq_cloud.core.payloads.large_results import LargeResults  # few applications have a bucket

        return LargeResults(store, self.payloads, time.time)

    @lazy
    def scheduler(self) -> ScheduleStore | None:
        """What keeps schedules; None: what is due later than the broker can delay it goes in hops."""
        if self.conf.scheduler is None:
            return None
        from taskq_cloud.stores.schedules.registry import scheduler_from_url  # only who has one needs it

        return scheduler_from_url(self.conf.scheduler, {})

    @lazy
    def payloads(self) -> Payloads | None:
        """What becomes of messages and results that are too large; None: they are refused."""
        return payloads_from_settings(self.conf)

    @lazy
    def codec(self) -> Codec:
        """How messages are written and read, with the keys that the settings name."""
        return codec_from_settings(self.conf, self.payloads)

    def options_of(self, task: str) -> TaskOptions:
        """The options of a task; the defaults for one that is not registered here."""
        definition = self._definitions.get(task)
        return definition.options if definition else TaskOptions()

    def route(self, task: str) -> str:
        """The queue of a task: its own, else that of ``task_routes``, else ``task_default_queue``."""
        return self.options_of(task).queue or self._router.queue_for(task)

    def queues(self) -> list[str]:
        """Every queue that the registered tasks go to, and the default one."""
        return sorted({self.conf.task_default_queue, *map(self.route, self.tasks)})

    def run(self, flow: Flow[T]) -> T:
        """Drive a flow in this thread."""
        return self._connections.run(flow)

    async def arun(self, flow: Flow[T]) -> T:
        """Drive a flow on the running event loop."""
        return await self._async_connections.run(flow)

    def result_expires_at(self) -> float | None:
        """When a record written now ceases to exist, in seconds since the epoch."""
        expires = self.conf.policy(0).result_expires
        return None if expires is None else time.time() + expires

    def close(self) -> None:
        """Close the connections of synchronous callers; the next call opens them again."""
        if "_connections" in vars(self):  # what is not open needs no broker's URL to be right
            self._connections.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        if "_async_connections" in vars(self):
            await self._async_connections.close()

    # -- serving

    def runtime(
        self, *, hostname: str | None = None, patience_seconds: float | None = None, app_path: str | None = None
    ) -> Runtime:
        """What a worker or a handler needs to serve this application.

        Args:
            hostname: the name it goes by.
            patience_seconds: how long a finished run waits for a silent store; ``worker_patience`` where None.
            app_path: where the children of a process pool import the application from: ``"shop:app"``.

        Raises:
            ImproperlyConfigured: a setting is wrong, or the result store can't keep a rate limit.
        """
        patience = self.conf.worker_patience if patience_seconds is None else patience_seconds
        # Callers need neither.
        from taskq_cloud.core.execution.context import Environment
        from taskq_cloud.core.execution.pipeline import Pipeline
        from taskq_cloud.core.execution.steps import rate_limits
        from taskq_cloud.runtime.runtime import Runtime

        environment = Environment(
            broker=self.broker,
            store=self.store,
            tasks=self._definitions,
            policy=self.conf.policy(patience),
            route=self.route,
            hostname=hostname or f"taskq@{socket.gethostname()}",
            clock=time.time,
            codec=self.codec,
            scheduler=self.scheduler,
        )
        rate_limits.check(
            self._definitions.values(), environment.policy, self.store.capabilities, self.broker.capabilities
        )
        return Runtime(
            settings=self.conf,
            tasks=self._definitions,
            broker=self.broker,
            store=self.store,
            pipeline=Pipeline(environment),
            runner=self.runner,
            codec=self.codec,
            route=self.route,
            connections=self._connections,
            async_connections=self._async_connections,
            app_path=app_path,
        )

    def lambda_handler(self) -> Callable[[Any, Any], Any]:
        """The handler of an AWS Lambda function that serves this application: see ``serverless.aws_lambda``."""
        from taskq_cloud.serverless.aws_lambda import make_handler  # only a function needs it

        function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        return make_handler(self.runtime(hostname=f"lambda@{function}" if function else None, patience_seconds=0))

    def pubsub_push_handler(
        self,
        *,
        audience: str | Sequence[str],
        service_account: str | Sequence[str],
        deadline_seconds: float = 600,
        clock_skew_seconds: float = 10,
        keys_url: str | None = None,
    ) -> PushEndpoint:
        """The push endpoint that serves this application, as WSGI and as ASGI: see ``serverless.pubsub_push``.

        Args:
            audience: what tokens must be for: the subscription's ``--push-auth-token-audience``, by default its URL.
            service_account: whose tokens they must be: the email of ``--push-auth-service-account``.
            deadline_seconds: how long a request may take; not more than the subscription's ``--ack-deadline``.
            clock_skew_seconds: how far Google's clock and this one may differ.
            keys_url: where the issuer's keys are; Google's where None.

        Raises:
            ImproperlyConfigured: an argument is wrong.
        """
        from taskq_cloud.serverless.push_options import make_endpoint  # only an endpoint needs it

        service = os.environ.get("K_SERVICE")
        runtime = self.runtime(hostname=f"run@{service}" if service else None, patience_seconds=0)
        return make_endpoint(runtime, audience, service_account, deadline_seconds, clock_skew_seconds, keys_url)

    # -- deploying

    def topology(self, *, app_path: str | None = None) -> Topology:
        """What has to be deployed for this application: see ``taskq_cloud.deploy.topology``.

        Args:
            app_path: where functions and containers import the application from: ``"shop:app"``.

        Raises:
            ImproperlyConfigured: it can't be deployed as it is; says what to change.
        """
        from taskq_cloud.deploy.topology.build import build  # no runtime needs it

        def periodic() -> Sequence[PlatformSchedule]:
            from taskq_cloud.beat.apply import schedules_for_terraform  # few declare any

            return schedules_for_terraform(self, self.schedule_entries())

        return build(self, app_path, periodic)

    def import_modules(self) -> None:
        """Import the modules of the ``imports`` setting, whose tasks this application has."""
        for module in self.conf.imports:
            importlib.import_module(module)

    @lazy
    def _router(self) -> Router:
        from taskq_cloud.core.messages.routing import Router

        return Router(self.conf.task_routes, self.conf.task_default_queue)

    def services(self) -> dict[str, Service]:
        """The clients that broker, result store and payloads need, by name."""
        services = {**self.broker.services, **self.store.services}
        services |= self.scheduler.services if self.scheduler else {}
        for name, service in (self.payloads.store.services if self.payloads else {}).items():
            if services.setdefault(name, service) != service:
                raise ImproperlyConfigured(
                    f"TASKQ_RESULTS and TASKQ_PAYLOADS share one client of {name!r}: give both URLs the same options"
                )
        return services

    @lazy
    def _connections(self) -> Connections:
        return Connections(self.services())

    @lazy
    def _async_connections(self) -> AsyncConnections:
        return AsyncConnections(self.services())
