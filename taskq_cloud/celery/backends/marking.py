"""What becomes of a task's end: the record, the chord, the tasks after it and the errbacks, by Celery's methods.

A worker's native pipeline does all of it by itself. These methods are for programs that record the end of a task that
no worker has run, and for backends of a user's own.
"""

from __future__ import annotations

import sys
from collections import deque
from functools import partial
from typing import Any

from taskq_cloud.celery import states
from taskq_cloud.celery.backends.exception_info import ExceptionInfo
from taskq_cloud.celery.exceptions import ChordError, NotRegistered, TaskRevokedError
from taskq_cloud.celery.utils.functional import arity_greater, maybe_list
from taskq_cloud.celery.utils.log import get_logger

logger = get_logger(__name__)


def _ignores_result(request: Any) -> Any:
    return request is not None and request.ignore_result


def _create_chord_error_with_cause(message: str, original_exc: Any = None) -> ChordError:
    """Make the error of a chord, which another exception has caused."""
    error = ChordError(message)
    if isinstance(original_exc, Exception):
        error.__cause__ = original_exc
    return error


def _create_fake_task_request(task_id: Any, errbacks: Any = None, task_name: str = "unknown", **extra: Any) -> Any:
    """Make the request of a task that has not run, for its errbacks."""
    from taskq_cloud.celery.app.task import Context  # the application imports backends

    given = {"id": task_id, "errbacks": errbacks or [], "delivery_info": {}, "task": task_name, **extra}
    return Context(given)


def _result_errbacks(sig: Any, app: Any) -> tuple[Any, list[Any]]:
    """Return the id that a frozen signature's result has, and the errbacks that its failure calls."""
    from taskq_cloud.celery.canvas import chord, group, maybe_signature  # signatures ask backends

    sig, errbacks = maybe_signature(sig, app=app), list[Any]()
    while isinstance(sig, chord) and sig.body is not None:
        errbacks += maybe_list(sig.options.get("link_error")) or []
        sig = maybe_signature(sig.body, app=app)
    errbacks += maybe_list(sig.options.get("link_error")) or []
    if isinstance(sig, group):
        for task in sig.tasks:
            errbacks += _result_errbacks(task, app)[1]
    return sig.options.get("task_id"), errbacks


class Marking:
    """The ends of tasks."""

    app: Any

    def store_result(self, task_id: Any, result: Any, state: str, *args: Any, **kwargs: Any) -> Any:
        """Store the state of a task."""
        raise NotImplementedError

    def get_state(self, task_id: Any) -> Any:
        """Return the state of a task."""
        raise NotImplementedError

    def mark_as_started(self, task_id: Any, **meta: Any) -> Any:
        """Store that a task runs, with data such as the worker's name."""
        return self.store_result(task_id, meta, states.STARTED)

    def mark_as_done(
        self, task_id: Any, result: Any, request: Any = None, store_result: bool = True, state: str = states.SUCCESS
    ) -> None:
        """Store the value of a task that has succeeded, and count it in its chord.

        Args:
            task_id: the task's id.
            result: the value.
            request: the task's request.
            store_result: False: only the chord is told.
            state: the state to store.
        """
        if store_result and not _ignores_result(request):
            self.store_result(task_id, result, state, request=request)
        if request and request.chord:
            self.on_chord_part_return(request, state, result)

    def mark_as_failure(
        self,
        task_id: Any,
        exc: Any,
        traceback: Any = None,
        request: Any = None,
        store_result: bool = True,
        call_errbacks: bool = True,
        state: str = states.FAILURE,
    ) -> None:
        """Store the exception of a task that has failed; let the tasks after it fail too, and call its errbacks.

        Args:
            task_id: the task's id.
            exc: the exception.
            traceback: the traceback, as text.
            request: the task's request.
            store_result: False: nothing is stored.
            call_errbacks: False: no errbacks are called.
            state: the state to store.
        """
        if store_result:
            self.store_result(task_id, exc, state, traceback=traceback, request=request)
        if not request:
            return
        if request.chord:
            self.on_chord_part_return(request, state, exc)
        self._fail_chain(getattr(request, "chain", None), exc, traceback, store_result=store_result, state=state)
        if call_errbacks and request.errbacks:
            self._call_task_errbacks(request, exc, traceback)

    def mark_as_revoked(
        self,
        task_id: Any,
        reason: str = "",
        request: Any = None,
        store_result: bool = True,
        state: str = states.REVOKED,
    ) -> None:
        """Store that a task was revoked, and count it in its chord; arguments as for ``mark_as_failure``."""
        exc = TaskRevokedError(reason)
        if store_result:
            self.store_result(task_id, exc, state, traceback=None, request=request)
        if request and request.chord:
            self.on_chord_part_return(request, state, exc)

    def mark_as_retry(
        self,
        task_id: Any,
        exc: Any,
        traceback: Any = None,
        request: Any = None,
        store_result: bool = True,
        state: str = states.RETRY,
    ) -> Any:
        """Store that a task will run again, and the exception for which it will."""
        return self.store_result(task_id, exc, state, traceback=traceback, request=request)

    def on_chord_part_return(self, request: Any, state: str, result: Any, **kwargs: Any) -> Any:
        """Count the end of a chord's member; a backend without a counter does nothing."""

    # -- the tasks after a failed one

    def _fail_chain(
        self, chain: Any, exc: Any, traceback: Any = None, store_result: bool = True, state: str = states.FAILURE
    ) -> None:
        from taskq_cloud.celery.app.task import Context  # the application imports backends

        try:
            left = deque(iter(chain))
        except TypeError:  # None, or a placeholder
            return
        while left:
            context = Context(left.popleft())
            context.update(context.options)  # type: ignore[attr-defined, unused-ignore]
            options = context.options  # type: ignore[attr-defined, unused-ignore]
            context.id, context.group = options.get("task_id"), options.get("group_id")
            in_chord = "chord" in options
            # A member that has failed before was counted before.
            counted = in_chord and context.id is not None and self.get_state(context.id) in states.PROPAGATE_STATES
            if store_result and state in states.PROPAGATE_STATES and context.id is not None:
                self.store_result(context.id, exc, state, traceback=traceback, request=context)
            if in_chord and not counted:
                self.on_chord_part_return(context, state, exc)
            if getattr(context, "subtask_type", None) == "chord" and (context.kwargs or {}).get("body") is not None:
                # The result of a chord is that of its body.
                left.append((context.kwargs or {})["body"])

    # -- errbacks

    def _call_task_errbacks(self, request: Any, exc: Any, traceback: Any) -> None:
        """Call the errbacks that take the request, the exception and the traceback; send the others as tasks."""
        as_tasks = []
        for each in request.errbacks:
            errback = self.app.signature(each)
            if not errback._app:
                errback._app = self.app
            if not self._takes_the_error(errback):
                as_tasks.append(errback)
                continue
            try:
                errback(request, exc, traceback)
            except Exception:
                logger.exception("Errback %r raised an exception", errback.name)
        if as_tasks:
            self._send_errbacks(as_tasks, request)

    def _takes_the_error(self, errback: Any) -> bool:
        try:
            header = getattr(errback.type, "__header__", None)
        except NotRegistered:  # another worker may have it
            return False
        return header is not None and not isinstance(header, partial) and self._errback_arity_greater(errback, 1)

    def _errback_arity_greater(self, errback: Any, n: int) -> bool:
        header = errback.type.__header__
        if not errback.immutable and (errback.args or errback.kwargs):
            try:
                return bool(arity_greater(partial(header, *errback.args, **errback.kwargs), n))
            except (TypeError, ValueError):
                logger.debug("the arguments of errback %r don't fit its function", errback)
        return bool(arity_greater(header, n))

    def _send_errbacks(self, errbacks: list[Any], request: Any) -> None:
        from taskq_cloud.celery.canvas import group  # signatures ask backends

        several, task_id = group(errbacks, app=self.app), request.id
        eager = self.app.conf.task_always_eager or request.delivery_info.get("is_eager", False)
        call = several.apply if eager else several.apply_async
        call((task_id,), parent_id=task_id, root_id=request.root_id or task_id)

    # -- failing without a task

    def fail_from_current_stack(self, task_id: Any, exc: Any = None) -> ExceptionInfo:
        """Let a task fail with the exception that is being handled, or with the given one."""
        kind, handled, tb = sys.exc_info()
        info = ExceptionInfo((kind, handled if exc is None else exc, tb))
        self.mark_as_failure(task_id, info.exception, info.traceback)
        info.tb = None  # which would keep the frames' variables alive
        return info

    def chord_error_from_stack(self, callback: Any, exc: Any = None) -> Any:
        """Let the body of a chord fail with an exception, and call its errbacks.

        Args:
            callback: the body's signature.
            exc: the exception; None: the one that is being handled.
        """
        from taskq_cloud.celery.canvas import group  # signatures ask backends

        error = sys.exception() if exc is None else exc
        try:
            backend = self.app._tasks[callback.task].backend
        except KeyError:
            backend = self
        if isinstance(callback, group):
            info = self._handle_group_chord_error(group_callback=callback, backend=backend, exc=error)
            backend._fail_chain(callback.options.get("chain"), error)
            return info
        task_id = callback.id
        if not task_id:
            from taskq_cloud.celery.utils import uuid  # most bodies have an id

            task_id = callback.options["task_id"] = uuid()
        errbacks = callback.options.get("link_error", [])
        request = _create_fake_task_request(task_id=callback.options.get("task_id"), errbacks=errbacks, **callback)
        try:
            self._call_task_errbacks(request, error, None)
        except Exception as failed:  # the body fails with this exception
            error = failed
            info = backend.fail_from_current_stack(task_id, exc=error)
        else:
            info = backend.fail_from_current_stack(task_id, exc=error)
        backend._fail_chain(callback.options.get("chain"), error)
        return info

    def _handle_group_chord_error(self, group_callback: Any, backend: Any, exc: Any = None) -> Any:
        """Let all tasks of a chord's body that is a group fail, and revoke them."""
        from taskq_cloud.celery.result import GroupResult  # results ask backends

        cause = exc.__cause__ if isinstance(exc, ChordError) and exc.__cause__ else exc
        try:
            frozen = group_callback.freeze()
            if not isinstance(frozen, GroupResult):
                return None
            own = maybe_list(group_callback.options.get("link_error")) or []
            of_tasks = dict(_result_errbacks(task, self.app) for task in group_callback.tasks)
            for result in frozen.results:
                self._fail_member(result, [*of_tasks.get(result.id, ()), *own], backend, cause)
            if getattr(frozen, "id", None):
                backend.mark_as_failure(frozen.id, cause)
            frozen.revoke()
        except Exception:
            logger.exception("Failed to handle group chord error, falling back to single task handling")
            return backend.fail_from_current_stack(group_callback.id, exc=exc)
        return None

    def _fail_member(self, result: Any, errbacks: list[Any], backend: Any, cause: Any) -> None:
        once: list[Any] = []
        for each in errbacks:
            if each not in once:
                once.append(each)
        request = _create_fake_task_request(result.id, once, getattr(result, "task", "unknown"))
        try:
            backend._call_task_errbacks(request, cause, None)
        except Exception:
            logger.exception("the errbacks of task %s could not be called", result.id)
        try:
            backend.fail_from_current_stack(result.id, exc=cause)
        except Exception:
            logger.exception("Failed to handle chord error for task %s", result.id)
