"""The backend over the application's native result store, which every worker reads and writes: ``StoreBackend``.

Records are those of the native pipeline, and its rules hold: a state is replaced by a later one only, and a final state
by none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, ClassVar

from taskq_cloud.celery import states
from taskq_cloud.celery.backends.base import BaseBackend
from taskq_cloud.celery.exceptions import ImproperlyConfigured, OperationalError
from taskq_cloud.celery.exceptions import TimeoutError as CeleryTimeoutError
from taskq_cloud.celery.utils._encoding import bytes_to_str
from taskq_cloud.core import serializers
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import Record, version_of
from taskq_cloud.core.workflows import saved_groups
from taskq_cloud.results.state import TaskState

__all__ = ("StoreBackend",)


class StoreBackend(BaseBackend):
    """The backend over the native result store. Its arguments are those of ``Backend``.

    Results are written as JSON, whatever ``result_serializer`` says, so that every worker can read them.
    """

    supports_native_join: ClassVar[bool] = True
    supports_autoexpire: ClassVar[bool] = True

    def _run(self, flow: Any) -> Any:
        return self.app.run(flow)

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        """Whether an operation that failed with this error may be repeated: the store could not be used."""
        return isinstance(exc, OperationalError)

    # -- writing

    def prepare_exception(self, exc: BaseException, serializer: str | None = None) -> Any:
        """Describe an exception, in the form in which native workers store it."""
        return super().prepare_exception(exc, "json" if serializer is None else serializer)

    def prepare_value(self, result: Any) -> Any:
        """Return the value; a result object in it is written as a tuple."""
        from taskq_cloud.celery.result import ResultBase  # results ask backends

        return result.as_tuple() if isinstance(result, ResultBase) else result

    def _store_result(
        self, task_id: Any, result: Any, state: str, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> Any:
        meta = self._get_result_meta(result=result, state=state, traceback=traceback, request=request)
        own_id = str(bytes_to_str(task_id))
        meta["task_id"] = own_id
        version = version_of(state, getattr(request, "retries", None) or 0)
        record = Record(own_id, state, version, serializers.dumps(meta), self.app.result_expires_at())
        self._run(self.app.store.save([record]))
        return result

    def _forget(self, task_id: Any) -> None:
        self._run(self.app.store.delete([str(task_id)]))

    # -- reading

    def meta_from_decoded(self, meta: Any) -> Any:
        """Make the exception anew that a document describes, with its text and notes, if the task has failed."""
        if meta["status"] in self.EXCEPTION_STATES and not isinstance(meta["result"], BaseException):
            meta["result"] = document.exception_in(meta) if meta["result"] else None
        return meta

    def _meta_of(self, record: Record) -> dict[str, Any]:
        meta: dict[str, Any] = self.meta_from_decoded(dict(document.of(record)))
        return meta

    def _get_task_meta_for(self, task_id: Any) -> dict[str, Any]:
        found = self._run(self.app.store.load([str(task_id)])).get(str(task_id))
        return {"status": states.PENDING, "result": None} if found is None else self._meta_of(found)

    def task_result_exists(self, task_id: Any) -> bool:
        """Whether there is a record of a task, of whatever state."""
        return str(task_id) in self._run(self.app.store.load([str(task_id)]))

    def get_task_metas(self, task_ids: Iterable[Any]) -> dict[Any, dict[str, Any]]:
        """Return the documents of several tasks, read at once; a task without a record is left out."""
        self._ensure_not_eager()
        ids = {str(task_id): task_id for task_id in task_ids}
        known = {task_id: self._cache[task_id] for task_id in ids.values() if task_id in self._cache}
        left = [text for text, task_id in ids.items() if task_id not in known]
        found = self._ensure_retryable(lambda: self._run(self.app.store.load(left))) if left else {}
        return known | {ids[text]: self._meta_of(record) for text, record in found.items()}

    # -- waiting

    def wait_for(
        self,
        task_id: Any,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_interval: Callable[[], object] | None = None,
    ) -> Any:
        """Wait until a task has ended, and return its document.

        A store that tells of ends wakes the wait. Others are polled, and waits share their looks.

        Raises:
            TimeoutError: the time is over.
        """
        from taskq_cloud.results.looks import wait_for_one  # a process that only sends doesn't wait
        from taskq_cloud.results.state import PENDING

        self._ensure_not_eager()
        if task_id in self._cache:
            return self._cache[task_id]
        last: list[Record] = []

        def seen(record: Record | None) -> TaskState:
            if record is None:
                return PENDING
            last[:] = [record]
            return TaskState.of(record.payload)

        self._run(wait_for_one(self.app, str(task_id), seen, timeout, interval, on_interval))
        meta = self._meta_of(last[0])
        if meta["status"] == states.SUCCESS:
            self._cache[task_id] = meta
        return meta

    def iter_native(self, result: Any, *args: Any, **options: Any) -> Iterator[tuple[Any, Any]]:
        """Yield the ids and documents of the tasks of a set, each when it has ended, and let the results know them.

        Args:
            result: the set.
            args: as for the base class.
            options: as for the base class.
        """
        from taskq_cloud.celery.result import AsyncResult  # results ask backends

        members = {each.id: each for each in result.results or () if isinstance(each, AsyncResult)}
        for task_id, meta in super().iter_native(result, *args, **options):
            if not isinstance(meta, list) and task_id in members:
                members[task_id]._maybe_set_cache(meta)
            yield task_id, meta

    def get_many(
        self,
        task_ids: Iterable[Any],
        timeout: float | None = None,
        interval: float | None = 0.5,
        no_ack: bool = True,
        on_message: Callable[..., object] | None = None,
        on_interval: Callable[[], object] | None = None,
        max_iterations: int | None = None,
        READY_STATES: frozenset[str] = states.READY_STATES,
    ) -> Iterator[tuple[Any, Any]]:
        """Yield the ids and documents of tasks, each when it has ended.

        Args:
            task_ids: the tasks' ids.
            timeout: the longest time to wait, in seconds; None: without end.
            interval: the longest pause between two looks, in seconds.
            no_ack: has no effect.
            on_message: called with each document.
            on_interval: called after each look that finds a task still running.
            max_iterations: the most looks, with pauses of ``interval`` between them; None: no limit.
            READY_STATES: the states of tasks that have ended.

        Raises:
            TimeoutError: the time is over.
        """
        pause = 0.5 if interval is None else interval
        if max_iterations or READY_STATES != states.READY_STATES:
            found = self._look_by_look(task_ids, timeout, pause, on_interval, max_iterations, READY_STATES)
        else:
            found = self._as_told(list(task_ids), timeout, pause, on_interval)
        for task_id, meta in found:
            self._cache[task_id] = meta
            if on_message is not None:
                on_message(meta)
            yield task_id, meta

    def _as_told(
        self, task_ids: list[Any], timeout: float | None, interval: float, on_interval: Callable[[], object] | None
    ) -> Iterator[tuple[Any, Any]]:
        from taskq_cloud.results.async_result import AsyncResult  # a process that only sends doesn't wait
        from taskq_cloud.results.result_set import ResultSet
        from taskq_cloud.results.waiting import allow_join_result

        for task_id in [each for each in task_ids if each in self._cache]:
            yield task_id, self._cache[task_id]
        ids = {str(task_id): task_id for task_id in task_ids if task_id not in self._cache}
        waiting = ResultSet([AsyncResult(text, self.app) for text in ids], self.app)
        told = waiting.iter_native(timeout, interval, on_interval=on_interval)
        with allow_join_result():  # whoever waits has been asked whether that may block
            first = next(told, None)
        if first is None:
            return
        for text, found in chain((first,), told):
            yield ids[text], self.meta_from_decoded(dict(found))

    def _look_by_look(
        self,
        task_ids: Iterable[Any],
        timeout: float | None,
        interval: float,
        on_interval: Callable[[], object] | None,
        most: int | None,
        ready: frozenset[str],
    ) -> Iterator[tuple[Any, Any]]:
        missing, looks = set(task_ids), 0
        deadline = None if timeout is None else time.monotonic() + timeout
        while missing:
            found = {each: meta for each, meta in self.get_task_metas(missing).items() if meta["status"] in ready}
            yield from found.items()
            missing.difference_update(found)
            looks += 1
            if not missing or (most and looks >= most):
                return
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise CeleryTimeoutError(f"Operation timed out ({timeout})")
            if on_interval:
                on_interval()
            self._sleep(interval if left is None else min(interval, left))

    # -- groups

    def _save_group(self, group_id: Any, result: Any) -> Any:
        self._run(saved_groups.save(self.app.store, result.as_tuple(), self.app.result_expires_at()))
        return result

    def _restore_group(self, group_id: Any) -> dict[str, Any] | None:
        from taskq_cloud.celery.result import result_from_tuple  # results ask backends

        saved = self._run(saved_groups.load(self.app.store, str(group_id)))
        return None if saved is None else {"result": result_from_tuple(saved, self.app)}

    def _delete_group(self, group_id: Any) -> None:
        saved = self._run(saved_groups.load(self.app.store, str(group_id)))
        if saved is not None:
            self._run(saved_groups.delete(self.app.store, str(group_id), len(saved[1])))

    # -- chords

    def ensure_chords_allowed(self) -> None:
        """Refuse chords if the store can't count their members.

        Raises:
            ImproperlyConfigured: it can't; the error names the setting.
        """
        from taskq_cloud.core.workflows.chord_members import check_store_counts_members  # few processes start chords

        try:
            check_store_counts_members(self.app.store)
        except ImproperlyConfigured as error:
            raise ImproperlyConfigured(f"result_backend: {error}") from error

    def apply_chord(self, header_result_args: Any, body: Any, **kwargs: Any) -> None:
        """Save a chord's header, and write into the body how many members it has, by which they are counted.

        Args:
            header_result_args: the arguments of the header's result.
            body: the body's signature, which every member will carry.
            kwargs: have no effect.
        """
        self.ensure_chords_allowed()
        header = self.app.GroupResult(*header_result_args)
        self.save_group(header.id, header)
        body.options.update(saved_groups.counting_options(header.as_tuple()))

    def on_chord_part_return(self, request: Any, state: str, result: Any, **kwargs: Any) -> None:
        """Count a member of a chord that has ended; after the last one, the body is sent, or it fails."""
        from taskq_cloud.celery.backends.ends import end_in_chord  # workers do this by themselves

        end_in_chord(self.app, request, state, result)
