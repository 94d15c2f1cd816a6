"""An application with tasks, and a worker that runs them in this process: what scenarios with a worker are given."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.celery.scenarios.library import WAIT, Library


class CustomError(Exception):
    """An exception with arguments of its own."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


class Running:
    """A library, an application of it, and the application's tasks by name, while a worker runs.

    Args:
        lib: the library.
        app: the application.
    """

    def __init__(self, lib: Library, app: Any) -> None:
        self.lib = lib
        self.app = app
        self.seen: list[Any] = []
        """What the tasks of a scenario have noted; each scenario finds it empty."""

    def __getattr__(self, name: str) -> Any:
        task = self.app.tasks.get(f"work.{name}")
        return getattr(self.lib, name) if task is None else task

    def task(self, **options: Any) -> Callable[[Any], Any]:
        """Declare a task. Celery's workers know the tasks only that are declared before they start."""

        def declared(function: Any) -> Any:
            return self.app.task(shared=False, name=f"work.{function.__name__}", **options)(function)

        return declared

    def noted(self, count: int) -> list[Any]:
        """Wait until the tasks have noted a number of things, and return them."""
        deadline = time.monotonic() + WAIT
        while len(self.seen) < count and time.monotonic() < deadline:
            time.sleep(0.005)
        found, self.seen[:] = list(self.seen), []
        return found


def declare_tasks(running: Running) -> None:
    """Declare the tasks that all scenarios with a worker have."""
    task, seen, exceptions = running.task, running.seen, running.lib.module("exceptions")

    @task()
    def add(x, y, z=0):
        return x + y + z

    @task()
    def same(value=None):
        return value

    @task()
    def total(values):
        return sum(sum(each) if isinstance(each, list) else each for each in values)

    @task()
    def fail(*args, **kwargs):
        raise ValueError("no")

    @task()
    def fail_with_own_exception(*args):
        raise CustomError(3, "text")

    @task(bind=True)
    def ids(self, *args):
        request = self.request
        return [request.id, request.root_id, request.parent_id, request.group, request.group_index]

    @task(bind=True, max_retries=3, default_retry_delay=0)
    def flaky(self, value, times=1):
        if self.request.retries < times:
            raise self.retry(countdown=0)
        return value

    @task(bind=True, max_retries=1, default_retry_delay=0)
    def never(self, *args):
        try:
            raise KeyError("never")
        except KeyError as error:
            raise self.retry(exc=error, countdown=0)

    @task(bind=True)
    def replaced(self, x, y=10):
        raise self.replace(running.add.s(x, y))

    @task(bind=True)
    def replaced_by_group(self, x):
        raise self.replace(running.group(running.add.s(x, 1), running.add.s(x, 2)))

    @task(bind=True)
    def replaced_by_chain(self, x):
        raise self.replace(running.add.s(x, 1) | running.add.s(1))

    @task(bind=True)
    def replaced_by_chord(self, x):
        raise self.replace(running.chord([running.add.s(x, 1), running.add.s(x, 2)], running.total.s()))

    @task(bind=True)
    def replaced_by_failure(self, *args):
        raise self.replace(running.fail.s())

    @task()
    def note(*args, **kwargs):
        seen.append(["noted", list(args), kwargs])
        return "noted"

    @task()
    def note_failure(request, exc, traceback):
        seen.append(["failed", request.task, type(exc).__name__, str(exc), "Traceback" in str(traceback)])

    @task()
    def note_id(task_id):
        seen.append(["id", task_id])

    @task(bind=True)
    def request(self, *args, **kwargs):
        return {name: _plain(getattr(self.request, name)) for name in REQUEST}

    @task()
    def ignore():
        raise exceptions.Ignore

    @task()
    def reject():
        raise exceptions.Reject("why", requeue=False)


REQUEST = [
    "args",
    "kwargs",
    "called_directly",
    "callbacks",
    "chain",
    "chord",
    "errbacks",
    "group",
    "group_index",
    "headers",
    "id",
    "ignore_result",
    "is_eager",
    "parent_id",
    "properties",
    "retries",
    "root_id",
    "shadow",
    "stamped_headers",
    "stamps",
    "timelimit",
    "replaced_task_nesting",
    "reply_to",
    "utc",
    "taskset",
]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@contextmanager
def running(
    lib: Library,
    declare: Callable[[Running], None] | None = None,
    pool: str = "solo",
    settings: dict[str, Any] | None = None,
    **options: Any,
) -> Iterator[Running]:
    """Run a worker, and give what scenarios need.

    Args:
        lib: the library.
        declare: declares further tasks.
        pool: the worker's pool.
        settings: settings of the application.
        options: the worker's options.
    """
    app = lib.app("work", worker_hijack_root_logger=False, **(settings or {}))
    app.set_default()
    app.set_current()
    given = Running(lib, app)
    declare_tasks(given)
    if declare is not None:
        declare(given)
    app.finalize()
    start = lib.module("contrib.testing.worker").start_worker
    with start(app, perform_ping_check=False, pool=pool, loglevel="CRITICAL", shutdown_timeout=20, **options):
        yield given
