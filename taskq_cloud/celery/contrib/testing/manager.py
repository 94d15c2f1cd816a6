"""Helpers of integration tests: they wait for tasks and for workers."""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count
from typing import Any

from taskq_cloud.celery import states
from taskq_cloud.celery.exceptions import TimeoutError as CeleryTimeoutError
from taskq_cloud.celery.result import ResultSet
from taskq_cloud.celery.utils.functional import retry_over_time
from taskq_cloud.celery.utils.text import truncate
from taskq_cloud.celery.utils.time import humanize_seconds as _humanize_seconds
from taskq_cloud.errors import OperationalError

__all__ = ("Manager", "ManagerMixin", "Sentinel")

E_STILL_WAITING = "Still waiting for {0}.  Trying again {when}: {exc!r}"

humanize_seconds = partial(_humanize_seconds, microseconds=True)


class Sentinel(Exception):
    """A condition isn't met yet."""


class ManagerMixin:
    """The helpers; a class with them has the application as ``app``."""

    app: Any

    def _init_manager(
        self, block_timeout: float = 30 * 60.0, no_join: bool = False, stdout: Any = None, stderr: Any = None
    ) -> None:
        self.stdout = sys.stdout if stdout is None else stdout
        self.stderr = sys.stderr if stderr is None else stderr
        self.connerrors: Any = (OperationalError,)
        self.block_timeout = block_timeout
        self.no_join = no_join

    def remark(self, s: str, sep: str = "-") -> None:
        """Write a line to the output."""
        print(f"{sep}{s}", file=self.stdout)

    def warn(self, s: str) -> None:
        """Write a line to the output of errors."""
        self.stderr.write(s + "\n")

    def missing_results(self, r: Iterable[Any]) -> list[str]:
        """Return the ids of the results that aren't there yet."""
        return [each.id for each in r if not each.ready()]

    def wait_for(
        self,
        fun: Callable[..., Any],
        catch: Any,
        desc: str = "thing",
        args: Any = (),
        kwargs: Any = None,
        errback: Callable[..., Any] | None = None,
        max_retries: int = 10,
        interval_start: float = 0.1,
        interval_step: float = 0.5,
        interval_max: float = 5.0,
        emit_warning: bool = False,
        **options: Any,
    ) -> Any:
        """Call a function until it raises no exception of ``catch``, and return its value.

        Args:
            fun: the function.
            catch: the exceptions that mean "not yet".
            desc: what is waited for.
            args: the function's arguments.
            kwargs: its keyword arguments.
            errback: called with the exception, the wait in seconds, and the number of calls so far.
            max_retries: how many calls are made after the first.
            interval_start: the first wait, in seconds.
            interval_step: how much longer each wait is, in seconds.
            interval_max: is Celery's; the longest wait is that of ``retry_over_time``, unless ``options`` has one.
            emit_warning: whether a line is written for each wait.
            options: more arguments of ``retry_over_time``.
        """

        def on_error(error: Exception, intervals: Iterator[float], retries: int) -> float:
            interval = next(intervals)
            if emit_warning:
                self.warn(E_STILL_WAITING.format(desc, when=humanize_seconds(interval, "in", " "), exc=error))
            if errback:
                errback(error, interval, retries)
            return interval

        return self.retry_over_time(
            fun,
            catch,
            args=args,
            kwargs=kwargs or {},
            errback=on_error,
            max_retries=max_retries,
            interval_start=interval_start,
            interval_step=interval_step,
            **options,
        )

    def ensure_not_for_a_while(
        self,
        fun: Callable[..., Any],
        catch: Any,
        desc: str = "thing",
        max_retries: int = 20,
        interval_start: float = 0.1,
        interval_step: float = 0.02,
        interval_max: float = 1.0,
        emit_warning: bool = False,
        **options: Any,
    ) -> None:
        """Call a function for a while, and fail unless it raises an exception of ``catch`` each time.

        Raises:
            AssertionError: it returned a value.
        """
        try:
            self.wait_for(
                fun,
                catch,
                desc=desc,
                max_retries=max_retries,
                interval_start=interval_start,
                interval_step=interval_step,
                interval_max=interval_max,
                emit_warning=emit_warning,
            )
        except catch:
            return
        raise AssertionError(f"Should not have happened: {desc}")

    def retry_over_time(self, *args: Any, **kwargs: Any) -> Any:
        """Call a function until it succeeds: see ``taskq_cloud.celery.utils.functional``."""
        return retry_over_time(*args, **kwargs)

    def join(self, r: Any, propagate: bool = False, max_retries: int | None = 10, **kwargs: Any) -> Any:
        """Wait for results.

        Args:
            r: a result or a set of results.
            propagate: whether a failed task raises its exception.
            max_retries: how many times the wait is begun; None: without end.
            kwargs: more arguments of the result's ``get``.

        Raises:
            AssertionError: results are missing in the end.
        """
        if self.no_join:
            return None
        results = r if isinstance(r, ResultSet) else self.app.ResultSet([r])
        received: list[str] = []

        def on_result(task_id: str, value: Any) -> None:
            received.append(task_id)

        for _ in range(max_retries) if max_retries else count(0):
            received.clear()
            try:
                return results.get(callback=on_result, propagate=propagate, **kwargs)
            except (TimeoutError, CeleryTimeoutError) as error:
                missing = truncate(", ".join(self.missing_results(results)))
                left = len(results) - len(received)
                self.remark(f"Still waiting for {left}/{len(results)}: [{missing}]: {error!r}", "!")
            except self.connerrors as error:
                self.remark(f"join: connection lost: {error!r}", "!")
        raise AssertionError("Test failed: Missing task results")

    def inspect(self, timeout: float = 3.0) -> Any:
        """Return the questions to workers."""
        return self.app.control.inspect(timeout=timeout)

    def query_tasks(self, ids: Iterable[str], timeout: float = 0.5) -> Iterator[tuple[str, Any]]:
        """Yield each worker with what it knows of these tasks."""
        yield from (self.inspect(timeout).query_task(*ids) or {}).items()

    def query_task_states(self, ids: Iterable[str], timeout: float = 0.5) -> dict[str, set[str]]:
        """Return the ids of the tasks that workers know, by their state."""
        found: dict[str, set[str]] = defaultdict(set)
        for _, reply in self.query_tasks(ids, timeout=timeout):
            for task_id, (state, _) in reply.items():
                found[state].add(task_id)
        return found

    def assert_accepted(
        self, ids: Any, interval: float = 0.5, desc: str = "waiting for tasks to be accepted", **policy: Any
    ) -> Any:
        """Wait until workers have accepted these tasks."""
        return self.assert_task_worker_state(self.is_accepted, ids, interval=interval, desc=desc, **policy)

    def assert_received(
        self, ids: Any, interval: float = 0.5, desc: str = "waiting for tasks to be received", **policy: Any
    ) -> Any:
        """Wait until workers have received these tasks."""
        return self.assert_task_worker_state(self.is_received, ids, interval=interval, desc=desc, **policy)

    def assert_result_tasks_in_progress_or_completed(
        self,
        async_results: Any,
        interval: float = 0.5,
        desc: str = "waiting for tasks to be started or completed",
        **policy: Any,
    ) -> Any:
        """Wait until these results say that their tasks were started."""
        return self.assert_task_state_from_result(
            self.is_result_task_in_progress, async_results, interval=interval, desc=desc, **policy
        )

    def assert_task_state_from_result(self, fun: Any, results: Any, interval: float = 0.5, **policy: Any) -> Any:
        """Wait until a function of these results returns a true value."""
        return self.wait_for(partial(self.true_or_raise, fun, results, timeout=interval), (Sentinel,), **policy)

    @staticmethod
    def is_result_task_in_progress(results: Iterable[Any], **_kwargs: Any) -> bool:
        """Tell whether all tasks were started."""
        return all(result.state in (states.STARTED, states.SUCCESS) for result in results)

    def assert_task_worker_state(self, fun: Any, ids: Any, interval: float = 0.5, **policy: Any) -> Any:
        """Wait until a function of these ids returns a true value."""
        return self.wait_for(partial(self.true_or_raise, fun, ids, timeout=interval), (Sentinel,), **policy)

    def is_received(self, ids: Iterable[str], **kwargs: Any) -> bool:
        """Tell whether workers have received all these tasks."""
        return self._ids_matches_state(["reserved", "active", "ready"], ids, **kwargs)

    def is_accepted(self, ids: Iterable[str], **kwargs: Any) -> bool:
        """Tell whether workers have accepted all these tasks."""
        return self._ids_matches_state(["active", "ready"], ids, **kwargs)

    def _ids_matches_state(self, expected_states: list[str], ids: Iterable[str], timeout: float = 0.5) -> bool:
        found = self.query_task_states(ids, timeout=timeout)
        expected = set().union(*(found.get(state, set()) for state in expected_states))
        return all(task_id in expected for task_id in ids)

    def true_or_raise(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return a function's value.

        Raises:
            Sentinel: it is false.
        """
        value = fun(*args, **kwargs)
        if not value:
            raise Sentinel
        return value

    def wait_until_idle(self) -> None:
        """Empty the queues, and wait until no worker runs a task."""
        control = self.app.control
        while control.purge():
            pass
        inspect = control.inspect()
        while any(inspect.active().values()):
            pass


class Manager(ManagerMixin):
    """The helpers for an application."""

    def __init__(self, app: Any, **kwargs: Any) -> None:
        self.app = app
        self._init_manager(**kwargs)
