"""The container workers of the demo, each a process of its own, started and ended by its own id."""

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

from demo.infrastructure.places import EXAMPLES

READY_LINE = "ready: serves"
READY_TIMEOUT_SECONDS = 30
STOP_TIMEOUT_SECONDS = 30
_LOOK_SECONDS = 0.1


class WorkerEndedError(RuntimeError):
    """A container worker ended by itself, or was not ready in time."""


class ContainerWorkers:
    """``taskq worker``, one for each queue, as containers would run them. Told to stop, and waited for, at the end.

    Args:
        queues: the workers' names -> the queue each serves.
        environment: their environment variables, beside this process's.
        logs: the folder of their logs.

    Raises:
        WorkerEndedError: one did not become ready; says what it printed.
    """

    def __init__(self, queues: Mapping[str, str], environment: Mapping[str, str], logs: Path) -> None:
        self._queues = queues
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
        """Whether all are still there.

        Raises:
            WorkerEndedError: one is not; says what it printed last.
        """
        for log_path, worker in self._started.items():
            code = worker.poll()
            if code is not None:
                last = log_path.read_text(errors="replace")[-1500:].strip()
                raise WorkerEndedError(f"the worker ended with code {code}; the end of {log_path}:\n{last}")

    def _start(self, name: str, queue: str, log_path: Path) -> subprocess.Popen[bytes]:
        with log_path.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "taskq_cloud", "worker", "-A", "shop", "-Q", queue, "-n", f"{name}@%h"],
                env={**os.environ, **self._environment},
                cwd=EXAMPLES,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal is for the demo, which then tells the worker.
                start_new_session=True,
            )

    def _wait_until_ready(self, log_path: Path) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while READY_LINE not in log_path.read_text(errors="replace"):
            self.check()
            if time.monotonic() > deadline:
                raise WorkerEndedError(f"the worker was not ready within {READY_TIMEOUT_SECONDS} s: see {log_path}")
            time.sleep(_LOOK_SECONDS)

    def _end(self) -> None:
        with ExitStack() as ending:
            for worker in self._started.values():
                worker.terminate()
                ending.callback(_wait_for, worker)


def _wait_for(worker: subprocess.Popen[bytes]) -> None:
    try:
        worker.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        # The processes of its pool are in its session's group, whose number is its process id.
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
