"""Waiting for results by asking the backend again and again: ``SyncBackendMixin``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from taskq_cloud.celery import states
from taskq_cloud.celery.exceptions import ImproperlyConfigured
from taskq_cloud.celery.exceptions import TimeoutError as CeleryTimeoutError


class SyncBackendMixin:
    """The waits of a backend that answers questions, and tells nobody of the end of a task by itself."""

    def _ensure_not_eager(self) -> None:
        """Warn if the results that are asked for are not stored."""

    def get_task_meta(self, task_id: Any, cache: bool = True) -> Any:
        """Return the document of a task."""
        raise NotImplementedError

    def get_many(self, task_ids: Any, *args: Any, **options: Any) -> Iterator[tuple[Any, Any]]:
        """Yield the ids and documents of tasks that have ended."""
        raise NotImplementedError

    def iter_native(
        self,
        result: Any,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[..., object] | None = None,
        on_interval: Callable[[], object] | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        """Yield the ids and documents of the tasks of a set, each when it has ended.

        Args:
            result: the set. A set in it is yielded with its list of results in place of a document.
            timeout: the longest time to wait, in seconds; None: without end.
            interval: the longest pause between two looks, in seconds.
            no_ack: has no effect.
            on_message: called with each document.
            on_interval: called after each look that finds a task still running.

        Raises:
            TimeoutError: the time is over.
        """
        from taskq_cloud.celery.result import ResultSet  # results ask backends

        self._ensure_not_eager()
        if not result.results:
            return
        ids = set()
        for each in result.results:
            if isinstance(each, ResultSet):
                yield each.id, each.results
            else:
                ids.add(each.id)
        yield from self.get_many(
            ids, timeout=timeout, interval=interval, no_ack=no_ack, on_message=on_message, on_interval=on_interval
        )

    def wait_for_pending(
        self,
        result: Any,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[..., object] | None = None,
        on_interval: Callable[[], object] | None = None,
        callback: Callable[[Any, Any], object] | None = None,
        propagate: bool = True,
    ) -> Any:
        """Wait for a result, let it know its document, and return its value; arguments as for ``AsyncResult.get``.

        Raises:
            ImproperlyConfigured: ``on_message`` was given.
            TimeoutError: the time is over.
            Exception: the task's own exception, if it failed.
        """
        self._ensure_not_eager()
        if on_message is not None:
            raise ImproperlyConfigured("Backend does not support on_message callback")
        meta = self.wait_for(result.id, timeout=timeout, interval=interval, on_interval=on_interval, no_ack=no_ack)
        if not meta:
            return None
        result._maybe_set_cache(meta)
        return result.maybe_throw(propagate=propagate, callback=callback)

    def wait_for(
        self,
        task_id: Any,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_interval: Callable[[], object] | None = None,
    ) -> Any:
        """Wait until a task has ended, and return its document.

        Raises:
            TimeoutError: the time is over.
        """
        self._ensure_not_eager()
        waited = 0.0
        while True:
            meta = self.get_task_meta(task_id)
            if meta["status"] in states.READY_STATES:
                return meta
            if on_interval:
                on_interval()
            if timeout is not None and waited >= timeout:
                raise CeleryTimeoutError("The operation timed out.")
            pause = interval if timeout is None else min(interval, timeout - waited)
            time.sleep(pause)
            waited += pause

    def add_pending_result(self, result: Any, weak: bool = False) -> Any:
        """Note that somebody waits for a result; nothing has to be done."""
        return result

    def remove_pending_result(self, result: Any) -> Any:
        """Note that nobody waits for a result any more; nothing has to be done."""
        return result

    @property
    def is_async(self) -> bool:
        """False: the backend has to be asked."""
        return False
