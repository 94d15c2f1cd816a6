"""The results of several tasks as one: ``ResultSet``. Each member is asked by itself, as in Celery.

Members that belong to the backend of the application's own store are read together, in one look.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any
from weakref import proxy

from taskq_cloud.celery import states
from taskq_cloud.celery._state import current_app
from taskq_cloud.celery.exceptions import ImproperlyConfigured
from taskq_cloud.celery.result.async_result import AsyncResult, ResultBase
from taskq_cloud.celery.result.blocking import assert_will_not_block
from taskq_cloud.celery.result.promises import Barrier, Promise
from taskq_cloud.results import result_set as native


class ResultSet(ResultBase, native.ResultSet):
    """Results, in an order.

    Args:
        results: the results; a list is used as it is, and changes with the set.
        app: the application; None: the application of the first result.
        ready_barrier: fulfilled when all results are there; None: the set makes its own.
        kwargs: have no effect.
    """

    _app: Any = None
    results: Any = None
    id: Any = ""

    def __init__(self, results: Any, app: Any = None, ready_barrier: Any = None, **kwargs: Any) -> None:
        self._app = app
        self.results = results
        if ready_barrier is not None:
            self._use(ready_barrier)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(str(each.id) for each in self.results)}]>"

    def __eq__(self, other: object) -> Any:
        return other.results == self.results if isinstance(other, native.ResultSet) else NotImplemented

    __hash__: Any = None  # a set changes

    def __getitem__(self, index: Any) -> Any:
        return self.results[index]

    @property
    def app(self) -> Any:
        """The application."""
        if self._app is None:
            self._app = self.results[0].app if self.results else current_app._get_current_object()
        return self._app

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property
    def backend(self) -> Any:
        """The backend that has the results."""
        return self.app.backend if self.app else self.results[0].backend

    @property
    def supports_native_join(self) -> Any:
        """Whether the backend reads many results at once; None for an empty set."""
        return self.results[0].supports_native_join if self.results else None

    # -- the end of all tasks

    def _use(self, barrier: Any) -> None:
        self._on_full = barrier
        self.on_ready = Promise(args=(proxy(self),))
        barrier.then(self._on_ready)

    @cached_property
    def _on_full(self) -> Any:
        barrier = Barrier(self.results)
        vars(self)["_on_full"] = barrier
        vars(self).setdefault("on_ready", Promise(args=(proxy(self),)))
        barrier.then(Promise(self._on_ready, weak=True))
        return barrier

    @cached_property
    def on_ready(self) -> Any:
        """The promise that is fulfilled as soon as this process learns that all tasks have ended."""
        promise = vars(self)["on_ready"] = Promise(args=(proxy(self),))
        _ = self._on_full  # which fulfils the promise
        return promise

    def _on_ready(self) -> None:
        self.on_ready()

    def then(self, callback: Any, on_error: Any = None, weak: bool = False) -> Any:
        """Call a function with this set as soon as this process learns that all tasks have ended."""
        return self.on_ready.then(callback, on_error)

    # -- as a set

    def add(self, result: Any) -> None:
        """Add a result, unless the set has it already."""
        if result in self.results:
            return
        self.results.append(result)
        barrier = vars(self).get("_on_full")
        if barrier is None:
            return
        if barrier.ready:
            # The barrier has fired, so the new result needs another one. Functions that are added from now on wait for
            # it; those that were called already are not called again.
            barrier = Barrier()
            self._use(barrier)
            barrier.add(result)
            barrier.finalize()
        else:
            barrier.add(result)

    def update(self, results: Iterable[Any]) -> None:
        """Add several results, unless the set has them already."""
        self.results.extend(each for each in results if each not in self.results)

    def remove(self, result: Any) -> None:
        """Remove a result, given by itself or by its id.

        Raises:
            KeyError: the set doesn't have it.
        """
        member = self.app.AsyncResult(result) if isinstance(result, str) else result
        try:
            self.results.remove(member)
        except ValueError:
            raise KeyError(member) from None

    def discard(self, result: Any) -> None:
        """Remove a result, if the set has it."""
        try:
            self.remove(result)
        except KeyError:
            return

    def clear(self) -> None:
        """Remove all results from the list that the set was made with."""
        self.results[:] = []

    # -- asking

    def _read_unknown(self) -> None:
        """Read the members that are not known yet in one look, if there are several of them in the native store."""
        plain = [each for each in self.results if isinstance(each, AsyncResult) and each._cache is None]
        backend = plain[0].backend if len(plain) > 1 else None
        read = getattr(type(backend), "get_task_metas", None)
        if read is None:
            return
        alike = {each.id: each for each in plain if each.backend is backend and not each.ignored}
        for task_id, meta in read(backend, list(alike)).items():
            alike[task_id]._maybe_set_cache(meta)

    def _ask(self, question: Callable[[Any], Any]) -> Iterator[Any]:
        self._read_unknown()
        return map(question, self.results)

    def successful(self) -> bool:
        """Whether all tasks have succeeded."""
        return all(self._ask(lambda result: result.successful()))

    def failed(self) -> bool:
        """Whether a task has failed."""
        return any(self._ask(lambda result: result.failed()))

    def ready(self) -> bool:
        """Whether all tasks have ended."""
        return all(self._ask(lambda result: result.ready()))

    def waiting(self) -> bool:
        """Whether a task has not ended."""
        return any(self._ask(lambda result: not result.ready()))

    def completed_count(self) -> int:
        """Count the tasks that have succeeded."""
        return sum(map(int, self._ask(lambda result: result.successful())))

    def maybe_throw(self, callback: Callable[[str, Any], object] | None = None, propagate: bool = True) -> None:
        """Raise the exception of the first task that has failed.

        Args:
            callback: called with the id and the value of each task.
            propagate: False: raise nothing.
        """
        for _ in self._ask(lambda result: result.maybe_throw(callback=callback, propagate=propagate)):
            pass

    maybe_reraise = maybe_throw

    def forget(self) -> None:
        """Remove all results from the backend."""
        for result in self.results:
            result.forget()

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Revoke the tasks that have not ended; arguments as for ``app.control.revoke``."""
        ids = [each.id for each in self.results]
        return self.app.control.revoke(
            ids, connection=connection, timeout=timeout, terminate=terminate, signal=signal, reply=wait
        )

    # -- waiting

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], object] | None = None,
        no_ack: bool = True,
        on_message: Callable[..., object] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], object] | None = None,
    ) -> Any:
        """Wait for all values: ``join_native`` if the backend reads many results at once, otherwise ``join``."""
        join = self.join_native if self.supports_native_join else self.join
        return join(
            timeout=timeout,
            propagate=propagate,
            interval=interval,
            callback=callback,
            no_ack=no_ack,
            on_message=on_message,
            disable_sync_subtasks=disable_sync_subtasks,
            on_interval=on_interval,
        )

    def join(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], object] | None = None,
        no_ack: bool = True,
        on_message: Callable[..., object] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], object] | None = None,
    ) -> list[Any]:
        """Wait for all values, one result after the other.

        Args:
            timeout: the longest time to wait for all of them, in seconds; None: without end.
            propagate: raise the exception of a task that fails; False: it stands in place of the value.
            interval: the longest pause between two polls, in seconds.
            callback: called with the id and the value of each result; the returned list is empty then.
            no_ack: is passed to the results.
            on_message: refused.
            disable_sync_subtasks: refuse to wait inside a task.
            on_interval: called after each poll that finds a task still running.

        Raises:
            TimeoutError: the time is over; the tasks go on.
            Exception: the exception of a task that failed.
        """
        if disable_sync_subtasks:
            assert_will_not_block()
        if on_message is not None:
            raise ImproperlyConfigured("Backend does not support on_message callback")
        begun, values = time.monotonic(), list[Any]()
        for result in self.results:
            left = None if timeout is None else max(timeout - (time.monotonic() - begun), 0.0)
            value = result.get(
                timeout=left,
                propagate=propagate,
                interval=interval,
                no_ack=no_ack,
                on_interval=on_interval,
                disable_sync_subtasks=disable_sync_subtasks,
            )
            (partial(callback, result.id) if callback else values.append)(value)
        return values

    def join_native(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], object] | None = None,
        no_ack: bool = True,
        on_message: Callable[..., object] | None = None,
        on_interval: Callable[[], object] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> Any:
        """Wait for all values, many at once; arguments as for ``join``. With a callback, None is returned."""
        if disable_sync_subtasks:
            assert_will_not_block()
        values: dict[Any, Any] = {}
        for task_id, meta in self.iter_native(timeout, interval, no_ack, on_message, on_interval):
            if isinstance(meta, list):
                value: Any = [
                    each.get(propagate=propagate, disable_sync_subtasks=disable_sync_subtasks) for each in meta
                ]
            else:
                value = meta["result"]
                if propagate and meta["status"] in states.PROPAGATE_STATES:
                    raise value
            if callback:
                callback(task_id, value)
            else:
                values[task_id] = value
        return None if callback else [values.get(each.id) for each in self.results]

    def iter_native(
        self,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[..., object] | None = None,
        on_interval: Callable[[], object] | None = None,
    ) -> Any:
        """Yield ids and documents as the backend finds them: see the backend's method of this name."""
        return self.backend.iter_native(
            self, timeout=timeout, interval=interval, no_ack=no_ack, on_message=on_message, on_interval=on_interval
        )

    def _iter_meta(self, **kwargs: Any) -> Iterator[Any]:
        ids = {each.id for each in self.results}
        return (meta for _, meta in self.backend.get_many(ids, max_iterations=1, **kwargs))

    def _failed_join_report(self) -> Sequence[Any] | Iterator[Any]:
        return (
            each for each in self.results if each.backend.is_cached(each.id) and each.state in states.PROPAGATE_STATES
        )
