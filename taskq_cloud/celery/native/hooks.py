"""Celery's signals and the handlers of tasks, as hooks of the native application."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from taskq_cloud.celery import signals
from taskq_cloud.celery.native import running
from taskq_cloud.celery.native.handlers import has_handlers, overrides_apply_async
from taskq_cloud.celery.native.own_calls import OwnCalls
from taskq_cloud.core.model.hooks import Call, Hooks, Received, Run, RunningWorker
from taskq_cloud.core.model.task_names import EVERY_TASK, FAN_OUT

if TYPE_CHECKING:
    from taskq_cloud.celery.app.context import Context

ARGSREPR_MAXSIZE: Final = 1024
"""The length of the texts that show arguments in headers."""
_OF_TASKS: Final = (
    signals.before_task_publish,
    signals.after_task_publish,
    signals.task_received,
    signals.task_prerun,
    signals.task_postrun,
    signals.task_success,
    signals.task_retry,
    signals.task_failure,
    signals.task_revoked,
    signals.task_rejected,
    signals.task_unknown,
)
_OF_PROCESSES: Final = (
    signals.worker_init,
    signals.worker_ready,
    signals.worker_shutting_down,
    signals.worker_shutdown,
    signals.worker_process_init,
    signals.worker_process_shutdown,
)


class HookTable(dict[str, tuple[Hooks, ...]]):
    """The hooks of an application: those of the signals that somebody listens to, and of the handlers of its tasks.

    Args:
        app: the application.
    """

    def __init__(self, app: Any) -> None:
        super().__init__()
        self._app = app
        self._signals: tuple[Hooks, ...] = (Signals(app),)
        self._handlers: tuple[Hooks, ...] = (Handlers(app),)
        self._calls: tuple[Hooks, ...] = (OwnCalls(app),)

    def __bool__(self) -> bool:
        """Whether there may be hooks: a signal has a receiver, or the class of a task has handlers."""
        return self._app.has_handlers or len(self) > 0 or _has_receivers(_OF_TASKS) or _has_receivers(_OF_PROCESSES)

    def get(self, name: str, default: Any = ()) -> Any:
        """The hooks of a task, or of all."""
        own = super().get(name, ())
        if name == EVERY_TASK:
            return (*self._signals, *own) if _has_receivers(_OF_TASKS) else own
        task = dict.get(self._app._tasks, name)
        if task is None:
            return own
        calls, handlers = self._calls * overrides_apply_async(task), self._handlers * has_handlers(task)
        return (*calls, *handlers, *own)

    def values(self) -> Any:
        """The hooks of each entry, and those of the signals about processes."""
        return (self._signals, *super().values())


def _has_receivers(listed: tuple[Any, ...]) -> bool:
    return any(signal.receivers for signal in listed)


class _OfTasks(Hooks):
    def __init__(self, app: Any) -> None:
        self.app = app

    def task_of(self, run: Run) -> tuple[Any, Context | None]:
        """The task of a run and its request; None for one that isn't registered here, and for an errback."""
        task = dict.get(self.app._tasks, run.task) if run.invocation.failed is None else None
        return task, None if task is None else running.begin(task, run.invocation)


class WorkerOfApplication:
    """A native worker as the sender of signals, which receivers ask for its application.

    Args:
        app: the application.
        worker: the worker.
    """

    def __init__(self, app: Any, worker: RunningWorker) -> None:
        self.app = app
        self.hostname = worker.hostname
        self._worker = worker

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname}>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._worker, name)


class Handlers(_OfTasks):
    """Calls the handlers of a task's class, such as ``on_failure``."""

    def before_run(self, run: Run) -> None:
        """Note the task as the running one."""
        self.task_of(run)

    def on_success(self, run: Run, value: Any) -> None:
        """Call ``on_success``."""
        task, request = self.task_of(run)
        if request is not None:
            task.on_success(value, run.id, request.args, request.kwargs)

    def on_retry(self, run: Run, error: BaseException) -> None:
        """Call ``on_retry``."""
        task, request = self.task_of(run)
        if request is not None:
            task.on_retry(error, run.id, request.args, request.kwargs, info_of(error))

    def on_failure(self, run: Run, error: BaseException) -> None:
        """Call ``on_failure``."""
        task, request = self.task_of(run)
        if request is not None:
            task.on_failure(error, run.id, request.args, request.kwargs, info_of(error))

    def after_run(self, run: Run, state: str, result: Any) -> None:
        """Call ``after_return`` for a task that has succeeded or failed."""
        task, request = self.task_of(run)
        if request is not None and state in ("SUCCESS", "FAILURE"):
            einfo = None if state == "SUCCESS" else info_of(result)
            task.after_return(state, result, run.id, request.args, request.kwargs, einfo)
        running.end(run.invocation)


class Signals(_OfTasks):
    """Sends Celery's signals."""

    def before_send(self, call: Call) -> None:
        """Send ``before_task_publish``; the headers, keyword arguments and priority that receivers set are sent."""
        signal = signals.before_task_publish
        if not signal.receivers or call.task == FAN_OUT:
            return
        headers = headers_of(call)
        own = set(headers)
        published = _published(call)
        signal.send(sender=call.task, headers=headers, **published)
        call.headers.update({name: value for name, value in headers.items() if name not in own})
        for name in own & call.headers.keys():
            call.headers[name] = headers[name]
        call.change(kwargs=published["body"][1], priority=published["properties"].get("priority"))

    def after_send(self, call: Call) -> None:
        """Send ``after_task_publish``."""
        if signals.after_task_publish.receivers and call.task != FAN_OUT:
            published = _published(call)
            signals.after_task_publish.send(
                sender=call.task,
                headers=headers_of(call),
                **{name: published[name] for name in ("body", "exchange", "routing_key")},
            )

    def before_run(self, run: Run) -> None:
        """Send ``task_prerun``."""
        task, request = self.task_of(run)
        if request is not None:
            signals.task_prerun.send(sender=task, task_id=run.id, task=task, args=request.args, kwargs=request.kwargs)

    def on_success(self, run: Run, value: Any) -> None:
        """Send ``task_success``."""
        task, request = self.task_of(run)
        if request is not None:
            times = getattr(run.outcome, "times", None)
            signals.task_success.send(sender=task, result=value, runtime=getattr(times, "seconds", None))

    def on_retry(self, run: Run, error: BaseException) -> None:
        """Send ``task_retry``."""
        task, request = self.task_of(run)
        if request is not None:
            reason = run.exception or error
            signals.task_retry.send(sender=task, request=request, reason=reason, einfo=info_of(reason))

    def on_failure(self, run: Run, error: BaseException) -> None:
        """Send ``task_failure``."""
        task, request = self.task_of(run)
        if request is not None:
            signals.task_failure.send(
                sender=task,
                task_id=run.id,
                exception=error,
                args=request.args,
                kwargs=request.kwargs,
                traceback=error.__traceback__,
                einfo=info_of(error),
            )

    def after_run(self, run: Run, state: str, result: Any) -> None:
        """Send ``task_postrun``."""
        task, request = self.task_of(run)
        if request is not None:
            signals.task_postrun.send(
                sender=task,
                task_id=run.id,
                task=task,
                args=request.args,
                kwargs=request.kwargs,
                retval=run.exception if state == "RETRY" and run.exception is not None else result,
                state=state,
            )
        running.end(run.invocation)

    def task_received(self, received: Received) -> None:
        """Send ``task_received``."""
        signals.task_received.send(sender=self.app, request=_request(self.app, received))

    def task_revoked(self, received: Received, reason: str) -> None:
        """Send ``task_revoked``."""
        signals.task_revoked.send(
            sender=dict.get(self.app._tasks, received.task),
            request=_request(self.app, received),
            terminated=False,
            signum=None,
            expired=reason == "expired",
        )

    def task_rejected(self, received: Received, reason: str) -> None:
        """Send ``task_rejected``."""
        signals.task_rejected.send(sender=self.app, message=received.message, exc=reason)

    def task_unknown(self, received: Received) -> None:
        """Send ``task_unknown``."""
        from taskq_cloud.celery.exceptions import NotRegistered  # few messages are of unknown tasks

        signals.task_unknown.send(
            sender=self.app,
            message=received.message,
            exc=NotRegistered(received.task),
            name=received.task,
            id=received.id,
        )

    def task_cut_off(self, received: Received, error: BaseException) -> None:
        """Send ``task_failure`` for a task whose process was killed."""
        request = _request(self.app, received)
        signals.task_failure.send(
            sender=dict.get(self.app._tasks, received.task),
            task_id=received.id,
            exception=error,
            args=request.args,
            kwargs=request.kwargs,
            traceback=error.__traceback__,
            einfo=info_of(error),
        )

    # -- workers and processes

    def worker_started(self, worker: RunningWorker) -> None:
        """Send ``worker_ready``, unless a ``WorkController`` runs the worker, which sends its signals itself."""
        if self.app._controller is not None:
            return
        signals.worker_ready.send(sender=WorkerOfApplication(self.app, worker))

    def worker_stopping(self, worker: RunningWorker) -> None:
        """Send ``worker_shutting_down`` and ``worker_shutdown``, unless a ``WorkController`` does."""
        if self.app._controller is not None:
            return
        signals.worker_shutting_down.send(sender=worker.hostname, sig="SIGTERM", how="Warm", exitcode=0)
        signals.worker_shutdown.send(sender=WorkerOfApplication(self.app, worker))

    def process_started(self) -> None:
        """Send ``worker_process_init``."""
        signals.worker_process_init.send(sender=None)

    def process_stopping(self) -> None:
        """Send ``worker_process_shutdown``."""
        signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=0)

    def function_started(self) -> None:
        """Send ``worker_init`` and ``worker_process_init``: a function is a worker and its process in one."""
        signals.worker_init.send(sender=self.app)
        signals.worker_process_init.send(sender=None)


def info_of(error: Any) -> Any:
    """The ``ExceptionInfo`` of an exception."""
    from taskq_cloud.celery.backends.exception_info import ExceptionInfo  # few runs end in an exception

    return ExceptionInfo((type(error), error, getattr(error, "__traceback__", None)))


def headers_of(call: Call) -> dict[str, Any]:
    """The headers of a message in Celery's protocol, for receivers of signals."""
    from taskq_cloud.celery.utils.saferepr import saferepr  # few applications listen to these signals

    message = call.message
    return {
        "lang": "py",
        "task": message.task,
        "id": message.id,
        "shadow": message.shadow,
        "eta": None if message.eta is None else message.eta.isoformat(),
        "expires": None if message.expires is None else message.expires.isoformat(),
        "group": message.group,
        "group_index": message.group_index,
        "retries": message.retries,
        "timelimit": list(message.timelimit),
        "root_id": message.root_id or message.id,
        "parent_id": message.parent_id,
        "argsrepr": message.argsrepr or saferepr(tuple(message.args), ARGSREPR_MAXSIZE),
        "kwargsrepr": message.kwargsrepr or saferepr(dict(message.kwargs), ARGSREPR_MAXSIZE),
        "origin": message.origin,
        "ignore_result": message.ignore_result,
        "replaced_task_nesting": message.replaced_task_nesting,
        "stamped_headers": message.stamped_headers,
        "stamps": dict(message.stamps),
        **call.headers,
    }


def _published(call: Call) -> dict[str, Any]:
    message, embed = call.message, call.message.embed
    follow = {"callbacks": embed.callbacks, "errbacks": embed.errbacks, "chain": embed.chain, "chord": embed.chord}
    return {
        "body": (tuple(message.args), dict(message.kwargs), follow),
        "exchange": "",
        "routing_key": call.queue,
        "declare": [],
        "properties": {"correlation_id": message.id, "reply_to": message.reply_to},
        "retry_policy": {},
    }


def _request(app: Any, received: Received) -> Any:
    from taskq_cloud.celery.app.context import context_of  # few applications listen to these signals
    from taskq_cloud.core.model.outcome import Invocation

    message = received.message
    request = context_of(Invocation(message=message, queue=received.delivery.queue, hostname=received.hostname))
    task = dict.get(app._tasks, message.task)
    known = {} if task is None else {"task": task}
    request.update(name=message.task, task_id=message.id, task_name=message.task, message=message, **known)
    return request
