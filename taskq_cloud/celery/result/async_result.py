"""The result of one task: ``AsyncResult``. It reads and waits by its backend, as Celery's does.

The native result is its base class, so that its asynchronous methods, and those that know whole workflows, are here
too. What both have is Celery's here.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar

from taskq_cloud.celery import states
from taskq_cloud.celery.exceptions import TimeoutError as CeleryTimeoutError
from taskq_cloud.celery.result.blocking import assert_will_not_block
from taskq_cloud.celery.result.dependencies import Dependencies
from taskq_cloud.celery.result.ending import Ending
from taskq_cloud.celery.result.promises import Promise
from taskq_cloud.celery.result.stored_meta import StoredMeta, to_meta, to_state
from taskq_cloud.results import async_result as native
from taskq_cloud.results.state import TaskState
from taskq_cloud.results.workflow import Result


class ResultBase(Result):
    """The base class of all results: of tasks, of groups, and of tasks that ran in place.

    Attributes:
        parent: the result of the task or group before this one in a chain.
    """

    parent: Any = None


def _each_time(functions: Sequence[Callable[[], object] | None]) -> Callable[[], None]:
    """Make a function that calls several functions, in order."""
    wanted = [function for function in functions if function is not None]

    def call() -> None:
        for function in wanted:
            function()

    return call


class AsyncResult(StoredMeta, Ending, Dependencies, ResultBase, native.AsyncResult[Any]):
    """The result of a task that runs elsewhere.

    Args:
        id: the task's id.
        backend: the backend that has the result; None: the application's.
        task_name: accepted for Celery's sake, and not used.
        app: the application; None: the current one.
        parent: the result of the task or group before it in a chain.

    Raises:
        ValueError: the id is None.
    """

    app: Any = None
    id: Any = None
    backend: Any = None
    TimeoutError: ClassVar[type[Exception]] = CeleryTimeoutError
    _ignored: bool
    _cache: Any = None

    def __init__(
        self, id: Any, backend: Any = None, task_name: str | None = None, app: Any = None, parent: Any = None
    ) -> None:
        if id is None:
            raise ValueError(f"AsyncResult requires valid id, not {type(id)}")
        if app is None:
            app = self.app
        if app is None:
            from taskq_cloud.celery.app import app_or_default  # the application imports results

            app = app_or_default(None)
        self.app = app
        self.id = id
        self.backend = backend or app.backend
        self.parent = parent
        self._cache = None
        self._ignored = False
        self._followers = ()

    __class_getitem__: Any = classmethod(types.GenericAlias)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __str__(self) -> str:
        return str(self.id)

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> Any:
        if isinstance(other, native.AsyncResult):
            return other.id == self.id
        return other == self.id if isinstance(other, str) else NotImplemented

    def __copy__(self) -> AsyncResult:
        return type(self)(self.id, self.backend, None, self.app, self.parent)

    def __reduce__(self) -> Any:
        return type(self), self.__reduce_args__()

    def __reduce_args__(self) -> tuple[Any, ...]:
        """The arguments with which the result is made anew; the application will be the current one."""
        return self.id, self.backend, None, None, self.parent

    def __del__(self) -> None:
        if self.backend is not None:
            self.backend.remove_pending_result(self)

    # -- what the native methods read

    @property
    def known(self) -> TaskState | None:
        """The final state in its native form, once it has been read."""
        return None if self._cache is None else to_state(self._cache)

    @known.setter
    def known(self, state: TaskState | None) -> None:
        if state is None:
            self._cache = None
        else:
            self._set_cache(to_meta(state))

    def _call_followers(self) -> None:
        self._fulfil()

    # -- waiting

    @property
    def ignored(self) -> bool:
        """Whether the call said that no result is stored."""
        return getattr(self, "_ignored", False)

    @ignored.setter
    def ignored(self, value: bool) -> None:
        self._ignored = value

    @cached_property
    def on_ready(self) -> Any:
        """The promise that is fulfilled as soon as this process learns that the task has ended."""
        promise = Promise(self._on_fulfilled, weak=True)
        if self._cache is not None:
            promise(self)
        return promise

    def _fulfil(self) -> None:
        if "on_ready" in vars(self):  # otherwise nobody waits for it yet
            self.on_ready(self)

    def then(self, callback: Any, on_error: Any = None, weak: bool = False) -> Any:
        """Call a function with this result as soon as this process learns that the task has ended.

        Args:
            callback: the function, or a promise.
            on_error: called with an exception that ``callback`` raises.
            weak: tells the backend to keep no reference to the result.

        Returns:
            The promise of the function.
        """
        self.backend.add_pending_result(self, weak=weak)
        return self.on_ready.then(callback, on_error)

    def _on_fulfilled(self, result: Any) -> Any:
        self.backend.remove_pending_result(self)
        return result

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], object] | None = None,
        on_message: Callable[..., object] | None = None,
        on_interval: Callable[[], object] | None = None,
        disable_sync_subtasks: bool = True,
        EXCEPTION_STATES: frozenset[str] = states.EXCEPTION_STATES,
        PROPAGATE_STATES: frozenset[str] = states.PROPAGATE_STATES,
    ) -> Any:
        """Wait for the task's value.

        Args:
            timeout: the longest time to wait, in seconds; None: without end.
            propagate: raise the task's exception if it fails; False: return the exception.
            interval: the longest pause between two polls of the store, in seconds.
            no_ack: is passed to the backend.
            follow_parents: raise the exception of a task before it in its chain, too.
            callback: called with the task's id and its value.
            on_message: refused, unless the backend can honour it.
            on_interval: called after each poll that finds the task still running.
            disable_sync_subtasks: refuse to wait inside a task, where waiting can block every worker for good.
            EXCEPTION_STATES: has no effect, as in Celery.
            PROPAGATE_STATES: has no effect, as in Celery.

        Raises:
            TimeoutError: the time is over; the task goes on.
            RuntimeError: called inside a task.
            Exception: the task's own exception, if it failed.
        """
        if self.ignored:
            return None
        if disable_sync_subtasks:
            assert_will_not_block()
        follow = self._maybe_reraise_parent_error if follow_parents and propagate and self.parent else None
        if follow is not None:
            follow()
        if self._cache:
            if propagate:
                self.maybe_throw(callback=callback)
            return self.result
        self.backend.add_pending_result(self)
        return self.backend.wait_for_pending(
            self,
            timeout=timeout,
            interval=interval,
            on_interval=_each_time([follow, on_interval]),
            no_ack=no_ack,
            propagate=propagate,
            callback=callback,
            on_message=on_message,
        )

    wait = get

    def _maybe_reraise_parent_error(self) -> None:
        for node in reversed(list(self._parents())):
            node.maybe_throw()

    def _parents(self) -> Iterator[Any]:
        node = self.parent
        while node:
            yield node
            node = node.parent

    def throw(self, *args: Any, **kwargs: Any) -> None:
        """Raise an exception as that of the task: arguments as for ``Promise.throw``."""
        self.on_ready.throw(*args, **kwargs)

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], object] | None = None) -> Any:
        """Return the value or the exception that the backend has now, without waiting.

        Args:
            propagate: raise the exception of a task that has failed; False: return it.
            callback: called with the task's id and what is returned.

        Raises:
            Exception: the task's own exception, if it failed.
        """
        meta = self._get_task_meta() if self._cache is None else self._cache
        value = meta["result"]
        if propagate and meta["status"] in states.PROPAGATE_STATES:
            self.throw(value, self._to_remote_traceback(meta.get("traceback")))
        if callback is not None:
            callback(self.id, value)
        return value

    maybe_reraise = maybe_throw

    def _to_remote_traceback(self, tb: str | None) -> Any:
        if not tb or not self.app.conf.task_remote_tracebacks:
            return None
        try:
            from tblib import Traceback  # type: ignore[import-not-found, unused-ignore]  # an optional package
        except ImportError:
            return None
        return Traceback.from_string(tb).as_traceback()

    @property
    def children(self) -> Any:
        """The results of the tasks that follow from the task; None before it has ended."""
        return self._get_task_meta().get("children")

    # -- asking

    @property
    def supports_native_join(self) -> bool:
        """Whether the backend reads many results at once."""
        return bool(self.backend.supports_native_join)

    def as_tuple(self) -> Any:
        """Write the result as a tuple, which ``result_from_tuple`` reads."""
        return (self.id, self.parent and self.parent.as_tuple()), None

    def as_list(self) -> list[Any]:
        """List the task's id and the ids of all its parents, the last task's first."""
        return [self.id, *(self.parent.as_list() if self.parent is not None else ())]

    def exists(self) -> bool:
        """Whether the backend has a record of the task."""
        return bool(self.backend.task_result_exists(self.id))

    def ready(self) -> bool:
        """Whether the task has ended."""
        return self.state in self.backend.READY_STATES

    def successful(self) -> bool:
        """Whether the task has succeeded."""
        return bool(self.state == states.SUCCESS)

    def failed(self) -> bool:
        """Whether the task has failed."""
        return bool(self.state == states.FAILURE)

    def _get_task_meta(self) -> Any:
        if self._cache is None:
            return self._maybe_set_cache(self.backend.get_task_meta(self.id))
        return self._cache

    def _maybe_set_cache(self, meta: Any) -> Any:
        if not meta or meta["status"] not in states.READY_STATES:
            return meta
        kept = self._set_cache(self.backend.meta_from_decoded(meta))
        self._fulfil()
        return kept

    def _set_cache(self, d: Any) -> Any:
        if children := d.get("children"):
            from taskq_cloud.celery.result.tuples import result_from_tuple  # which makes results of this class

            d["children"] = [result_from_tuple(child, self.app) for child in children]
        self._cache = d
        return d

    def _iter_meta(self, **_: Any) -> Iterator[Any]:
        return iter([self._get_task_meta()])
