"""The processes of the demo, each started and ended by its own id: the stack, and the container worker."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from demo import infrastructure
from taskq_cloud.testing.local_stack import LocalStack

READY_LINE = "ready: serves"
READY_TIMEOUT_SECONDS = 30
STOP_TIMEOUT_SECONDS = 30
_LOOK_SECONDS = 0.1


class WorkerEndedError(RuntimeError):
    """The container worker ended by itself, or was not ready in time."""


@contextmanager
def aws_stack(logs: Path) -> Iterator[LocalStack]:
    """The local AWS stack; its log and the Lambda function's are kept when it ends."""
    with LocalStack() as stack:
        try:
            yield stack
        finally:
            (logs / "lambda.log").write_text(_function_log(stack))
            if stack.log_path is not None and stack.log_path.exists():
                shutil.copyfile(stack.log_path, logs / "stack.log")


def _function_log(stack: LocalStack) -> str:
    try:
        return infrastructure.function_log(stack.endpoint_url)
    except (BotoCoreError, ClientError) as error:
        return f"the function has no log, or it can't be read: {error}\n"


@contextmanager
def container_worker(environment: Mapping[str, str], log_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``taskq worker``, as a container would run it; told to stop, and waited for, at the end.

    Raises:
        WorkerEndedError: it did not become ready; says what it printed.
    """
    with log_path.open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "taskq_cloud", "worker", "-A", "shop", "-Q", "orders", "-n", "container@%h"],
            env={**os.environ, **environment},
            cwd=infrastructure.EXAMPLES,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal is for the demo, which then tells the worker.
            start_new_session=True,
        )
    try:
        _wait_until_ready(worker, log_path)
        yield worker
    finally:
        _end(worker)


def _wait_until_ready(worker: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    while READY_LINE not in log_path.read_text(errors="replace"):
        check(worker, log_path)
        if time.monotonic() > deadline:
            raise WorkerEndedError(f"the worker was not ready within {READY_TIMEOUT_SECONDS} s: see {log_path}")
        time.sleep(_LOOK_SECONDS)


def check(worker: subprocess.Popen[bytes], log_path: Path) -> None:
    """Whether the worker is still there.

    Raises:
        WorkerEndedError: it is not; says what it printed last.
    """
    code = worker.poll()
    if code is not None:
        last = log_path.read_text(errors="replace")[-1500:].strip()
        raise WorkerEndedError(f"the worker ended with code {code}; the end of {log_path}:\n{last}")


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    try:
        worker.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        # The processes of its pool are in its session's group, whose number is its process id.
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
