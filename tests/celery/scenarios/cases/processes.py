"""Tasks in the processes of a worker that is a program: Celery's own, and ``python -m taskq_cloud.celery``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.celery.scenarios.library import WAIT, Library, get, run
from tests.celery.scenarios.workers import Running

_PROJECT = "tests.celery.scenarios.project"


@contextmanager
def prepared(lib: Library) -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("messages", "control", "results"):
            (Path(folder) / name).mkdir()
        addresses = (
            ("filesystem://", f"file://{folder}/results")
            if lib.is_celery
            else (f"sqlite:///{folder}/broker.db", f"sqlite:///{folder}/results.db")
        )
        os.environ.update(
            SCENARIOS_LIBRARY=lib.package,
            SCENARIOS_FOLDER=folder,
            SCENARIOS_BROKER=addresses[0],
            SCENARIOS_BACKEND=addresses[1],
        )
        options = "worker --pool prefork --concurrency 2 --loglevel CRITICAL --without-gossip --without-mingle"
        command = [sys.executable, "-m", lib.package, "-A", f"{_PROJECT}:app", *options.split()]
        with (Path(folder) / "log").open("w") as log:
            worker = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                given: Running = import_module(_PROJECT).running
                given.app.set_default()
                given.app.set_current()
                assert get(given.add.delay(1, 1)) == 2, (Path(folder) / "log").read_text()
                yield given
            finally:
                worker.send_signal(signal.SIGTERM)
                worker.wait(timeout=20)


def _ended(result: Any) -> Any:
    try:
        return "returned", get(result)
    except Exception as error:
        return type(error).__name__, result.state


def tasks_run_in_other_processes(work: Running) -> Any:
    pid, signals = run(work.process.s())
    return pid != os.getpid(), signals


def workflows(work: Running) -> Any:
    return (
        run(work.add.s(1, 1) | work.add.s(2)),
        get(work.group(work.add.s(i, i) for i in range(5))()),
        get(work.chord([work.add.s(i, i) for i in range(5)])(work.total.s())),
        run(work.add.s(1, 1) | work.group(work.add.s(1), work.add.s(2)) | work.total.s()),
        run(work.replaced.s(1) | work.add.s(1)),
    )


def failures(work: Running) -> Any:
    result = work.fail.delay()
    return _ended(result), repr(result.result), "ValueError: no" in result.traceback, _ended(work.never.delay())


def retries(work: Running) -> Any:
    return run(work.flaky.s("value", 2))


def hard_time_limit(work: Running) -> Any:
    begin = time.monotonic()
    return _ended(work.too_long.delay()), time.monotonic() - begin < WAIT, run(work.add.s(1, 1))


def soft_time_limits(work: Running) -> Any:
    return run(work.softly_limited.s()), _ended(work.softly_ended.delay())


def time_limits_of_calls(work: Running) -> Any:
    return (
        run(work.limits.s(), time_limit=20, soft_time_limit=10),
        _ended(work.sleep.apply_async((30,), time_limit=1)),
        _ended(work.sleep.apply_async((30,), soft_time_limit=1)),
    )


def process_that_dies(work: Running) -> Any:
    return run(work.add.s(1, 1)), run(work.hostname.s())


def task_that_exits(work: Running) -> Any:
    return _ended(work.exit_politely.delay()), run(work.add.s(1, 1))


def many_tasks(work: Running) -> Any:
    return sum(get(work.group(work.add.s(i, 0) for i in range(50))()))


def names_of_results(work: Running) -> Any:
    result = work.add.delay(2, 2)
    get(result)
    stored = work.app.AsyncResult(result.id)
    return stored.state, stored.result, stored.successful()
