"""The run of a task by hand: see ``taskq_cloud.celery.app.trace``."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, Final

from taskq_cloud.celery import signals, states
from taskq_cloud.celery._state import _task_stack
from taskq_cloud.celery.app.context import Context
from taskq_cloud.celery.app.task import Task as BaseTask
from taskq_cloud.celery.app.trace_ends import (
    LOG_IGNORED,
    LOG_SUCCESS,
    get_actual_ignore_result,
    get_task_name,
    info,
    logger,
    report_internal_error,
    safe_repr,
    traceback_clear,
)
from taskq_cloud.celery.backends.exception_info import ExceptionInfo
from taskq_cloud.celery.exceptions import (
    BackendGetMetaError,
    Ignore,
    InvalidTaskError,
    OperationalError,
    Reject,
    Retry,
)
from taskq_cloud.celery.utils.objects import mro_lookup
from taskq_cloud.celery.utils.saferepr import saferepr
from taskq_cloud.celery.utils.serialization import get_pickleable_etype, get_pickleable_exception
from taskq_cloud.celery.worker.state import successful_requests
from taskq_cloud.errors import EncodeError

STARTED, SUCCESS, IGNORED, REJECTED, RETRY, FAILURE = (
    *(states.STARTED, states.SUCCESS, states.IGNORED, states.REJECTED),
    *(states.RETRY, states.FAILURE),
)
EXCEPTION_STATES: Final = states.EXCEPTION_STATES
IGNORE_STATES: Final = frozenset({IGNORED, RETRY, REJECTED})
"""States after which ``after_return`` isn't called."""


def task_has_custom(task: Any, attr: str) -> Any:
    """Return the class that has overridden a method of tasks; None if none has."""
    stop = {BaseTask, object}
    modules = [BaseTask.__module__, "taskq_cloud.celery.app.task_outcomes", "taskq_cloud.celery.app.task_calls"]
    return mro_lookup(task.__class__, attr, stop=stop, monkey_patched=modules)


def _signal_internal_error(task: Any, uuid: str, args: Any, kwargs: Any, request: Any, exc: BaseException) -> None:
    """Send ``task_internal_error`` for an exception that the task's function hasn't raised."""
    einfo = ExceptionInfo()
    einfo.exception, einfo.type = get_pickleable_exception(einfo.exception), get_pickleable_etype(einfo.type)
    signals.task_internal_error.send(
        sender=task,
        task_id=uuid,
        args=args,
        kwargs=kwargs,
        request=request,
        exception=exc,
        traceback=sys.exc_info()[2],
        einfo=einfo,
    )
    traceback_clear(einfo.exception)


def _check_mapping(kwargs: Any) -> None:
    if not hasattr(kwargs, "items"):
        raise InvalidTaskError("Task keyword arguments is not a mapping")


class _End:
    """What is known of a task's end so far."""

    __slots__ = ("info", "result", "runtime", "state", "text", "value")

    def __init__(self) -> None:
        self.result: Any = None
        self.info: Any = None
        self.runtime: Any = None
        self.text: Any = None
        self.value: Any = None
        self.state: Any = None

    def set_error(self, info: Any, result: Any) -> None:
        self.info, self.result = info, result
        self.state, self.value = info.state, info.retval


class Tracer:
    """Runs a task: see ``build_tracer``."""

    def __init__(
        self,
        name: str,
        task: Any,
        app: Any,
        loader: Any,
        hostname: str,
        Info: Any,
        eager: bool,
        propagate: bool,
        monotonic: Callable[[], float],
        ignored: Any,
    ) -> None:
        self.name, self.task, self.app, self.loader, self.hostname = name, task, app, loader, hostname
        self.Info, self.eager, self.propagate = Info, eager, propagate
        self.monotonic, self.ignored = monotonic, ignored
        # A task that is called would take its request off the stack again.
        self.function = task if task_has_custom(task, "__call__") else task.run
        self.deduplicates = (
            (app.conf.task_acks_late or task.acks_late)
            and app.conf.worker_deduplicate_successful_tasks
            and app.backend.persistent
        )

    def trace(self, uuid: str, args: Any, kwargs: Any, request: Any = None) -> tuple[Any, Any, Any, Any]:
        """Run the task, and return the fields of a ``trace_ok_t``."""
        end, started, context = _End(), self.monotonic(), None
        try:
            _check_mapping(kwargs)
            context = Context(request or {}, args=args, called_directly=False, kwargs=kwargs)
            if not (self.deduplicates and self._has_succeeded(context, uuid)):
                self._run_with_request(end, context, uuid, started)
        except (MemoryError, Reject):
            raise
        except Exception as error:
            _signal_internal_error(self.task, uuid, args, kwargs, request, error)
            if self.eager:
                raise
            end.result = report_internal_error(self.task, error)
            if context is not None:
                end.info = self._failed(context, error)[0]
        return end.result, end.info, end.runtime, end.text

    def _has_succeeded(self, request: Any, uuid: str) -> bool:
        """Return whether the task of a message that was delivered again has succeeded before."""
        if not (request.delivery_info and request.delivery_info.get("redelivered", False)):
            return False
        if request.id in successful_requests:
            return True
        result = self.app.AsyncResult(request.id)
        try:
            if result.state != SUCCESS:
                return False
        except BackendGetMetaError:
            return False
        name = get_task_name(request, self.name)
        info(LOG_IGNORED, {"id": request.id, "name": name, "description": "Task already completed successfully."})
        try:
            meta = result._get_task_meta()
            if not meta.get("children"):
                self._send_followers(meta.get("result"), request.callbacks, request.chain, request, uuid)
            successful_requests.add(request.id)
        except MemoryError:
            raise
        except Exception as error:
            logger.exception("Failed to dispatch chain/callbacks for deduplicated task %s", request.id)
            raise Reject(error, requeue=True) from error
        return True

    def _run_with_request(self, end: _End, request: Any, uuid: str, started: float) -> None:
        task, args, kwargs = self.task, request.args, request.kwargs
        _task_stack.push(task)
        task.request_stack.push(request)
        try:
            self._run(end, request, uuid, started)
            if end.state not in self.ignored and task_has_custom(task, "after_return"):
                self._tell("after_return", request, uuid, end.state, end.value, uuid, args, kwargs, None)
        finally:
            try:
                signals.task_postrun.send(
                    sender=task, task_id=uuid, task=task, args=args, kwargs=kwargs, retval=end.value, state=end.state
                )
            finally:
                _task_stack.pop()
                task.request_stack.pop()
                self._clean_up()

    def _run(self, end: _End, request: Any, uuid: str, started: float) -> None:
        task, args, kwargs = self.task, request.args, request.kwargs
        signals.task_prerun.send(sender=task, task_id=uuid, task=task, args=args, kwargs=kwargs)
        self.loader.on_task_init(uuid, task)
        ignored = get_actual_ignore_result(task, request)
        if not self.eager and task.track_started and not ignored:
            about = {"pid": os.getpid(), "hostname": self.hostname}
            task.backend.store_result(uuid, about, STARTED, request=request)
        try:
            if task_has_custom(task, "before_start"):
                task.before_start(uuid, args, kwargs)
            end.result = end.value = self.function(*args, **kwargs)
            end.state = SUCCESS
        except (Reject, Ignore) as error:
            rejected = isinstance(error, Reject)
            end.set_error(self.Info(REJECTED if rejected else IGNORED, error), ExceptionInfo(internal=True))
            (end.info.handle_reject if rejected else end.info.handle_ignore)(task, request)
            traceback_clear(error)
        except Retry as error:
            end.set_error(*self._failed(request, error, RETRY, call_errbacks=False))
            traceback_clear(error)
        except Exception as error:
            end.set_error(*self._failed(request, error))
            traceback_clear(error)
        else:
            store = not ignored and (not self.eager or bool(task.store_eager_result))
            self._succeeded(end, request, uuid, started, store=store)

    def _failed(self, request: Any, error: Exception, state: str = FAILURE, call_errbacks: bool = True) -> Any:
        if self.propagate:
            raise error
        made = self.Info(state, error)
        return made, made.handle_error_state(self.task, request, eager=self.eager, call_errbacks=call_errbacks)

    def _succeeded(self, end: _End, request: Any, uuid: str, started: float, *, store: bool) -> None:
        task, sent = self.task, False
        try:
            # Followers are sent first, so that the record has them among its children.
            self._send_followers(end.value, task.request.callbacks, request.chain, request, uuid)
            sent = True
            task.backend.mark_as_done(uuid, end.value, request, store)
        except (EncodeError, OperationalError) as error:
            if sent and isinstance(error, OperationalError):
                raise
            end.set_error(*self._failed(request, error))
            traceback_clear(error)
            return
        end.text = saferepr(end.result, task.resultrepr_maxsize)
        end.runtime = self.monotonic() - started
        if task_has_custom(task, "on_success"):
            self._tell("on_success", request, uuid, end.value, uuid, request.args, request.kwargs)
        signals.task_success.send(sender=task, result=end.value, runtime=end.runtime)
        if logger.isEnabledFor(logging.INFO):
            about = {"id": uuid, "name": get_task_name(request, self.name), "return_value": end.text}
            about |= {"runtime": end.runtime, "args": request.get("argsrepr") or safe_repr(request.args)}
            info(LOG_SUCCESS, {**about, "kwargs": request.get("kwargsrepr") or safe_repr(request.kwargs)})

    def _tell(self, handler: str, request: Any, uuid: str, *args: Any) -> None:
        """Call a handler of the task. Its exception is logged, as the end is recorded; in place it is raised."""
        try:
            getattr(self.task, handler)(*args)
        except (Reject, MemoryError):
            raise
        except Exception as error:
            if self.eager:
                raise
            logger.exception(
                "Task %s[%s] %s handler raised: %r", get_task_name(request, self.name), uuid, handler, error
            )
            traceback_clear(error)

    def _send_followers(self, value: Any, callbacks: Any, chain: Any, request: Any, uuid: str) -> None:
        """Send the callbacks of a task that has succeeded, and the next task of its chain."""
        from taskq_cloud.celery.canvas import group, maybe_signature  # signatures import tasks

        inherits = self.app.conf.task_inherit_parent_priority
        common: dict[str, Any] = {
            "parent_id": uuid,
            "root_id": request.root_id or uuid,
            "priority": (request.delivery_info or {}).get("priority") if inherits else None,
        }
        made = [maybe_signature(each, app=self.app) for each in callbacks or ()]
        groups = [each for each in made if isinstance(each, group)] if len(made) > 1 else []
        singles = [each for each in made if each not in groups]
        for each in groups:
            each.apply_async((value,), **common)
        if len(made) > 1 and singles:
            group(singles, app=self.app).apply_async((value,), **common)
        elif singles:
            singles[0].apply_async((value,), **common)
        if chain:
            maybe_signature(chain[-1], app=self.app).apply_async((value,), chain=chain[:-1], **common)

    def _clean_up(self) -> None:
        if self.eager:
            return
        try:
            self.task.backend.process_cleanup()
            self.loader.on_process_cleanup()
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except Exception as error:
            logger.error("Process cleanup failed: %r", error, exc_info=True)
