"""The container workers of the demo: one ``taskq worker`` process for each queue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from demo.infrastructure.interface import EXAMPLES

READY_LINE = "ready: serves"
READY_TIMEOUT_SECONDS = 30
STOP_TIMEOUT_SECONDS = 30
_LOOK_SECONDS = 0.1


class WorkerEndedError(RuntimeError):
    """A container worker has ended by itself, or was not ready in time."""


class ContainerWorkers:
    """A context in which container workers run. At its end they are told to stop, and waited for.

    Args:
        queues: worker name -> the queue that the worker serves.
        environment: environment variables of the workers, in addition to those of this process.
        logs: the folder of the workers' logs.
        pool: the pool in which the workers run tasks: the value of ``--pool``.

    Raises:
        WorkerEndedError: a worker did not become ready.
    """

    def __init__(self, queues: Mapping[str, str], environment: Mapping[str, str], logs: Path, pool: str) -> None:
        self._queues = queues
        self._pool = pool
        self._environment = environment
        self._logs = logs
        self._started: dict[Path, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            for name, queue in self._queues.items():
                log_path = self._logs / ("worker.log" if len(self._queues) == 1 else f"worker-{queue}.log")
                self._started[log_path] = self._start(name, queue, log_path)
            for log_path in self._started:
                self._wait_until_ready(log_path)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._end()

    def check(self) -> None:
        """Check that all workers still run.

        Raises:
            WorkerEndedError: a worker has ended; the message holds the last lines of its log.
        """
        for log_path, worker in self._started.items():
            code = worker.poll()
            if code is not None:
                last = log_path.read_text(errors="replace")[-1500:].strip()
                raise WorkerEndedError(f"a worker ended with exit code {code}; the end of {log_path}:\n{last}")

    def _start(self, name: str, queue: str, log_path: Path) -> subprocess.Popen[bytes]:
        worker = ["worker", "-A", "shop", "-Q", queue, "-n", f"{name}@%h", "--pool", self._pool]
        with log_path.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "taskq_cloud", *worker],
                env={**os.environ, **self._environment},
                cwd=EXAMPLES,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal then reaches the demo only, which stops the worker.
                start_new_session=True,
            )

    def _wait_until_ready(self, log_path: Path) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while READY_LINE not in log_path.read_text(errors="replace"):
            self.check()
            if time.monotonic() > deadline:
                raise WorkerEndedError(f"a worker was not ready within {READY_TIMEOUT_SECONDS} s: see {log_path}")
            time.sleep(_LOOK_SECONDS)

    def _end(self) -> None:
        with ExitStack() as cleanup:
            for worker in self._started.values():
                worker.terminate()
                cleanup.callback(_wait_for, worker)


def _wait_for(worker: subprocess.Popen[bytes]) -> None:
    try:
        worker.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        # The processes of the worker's pool are in the process group that has the worker's process id.
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
