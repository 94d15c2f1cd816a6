"""Tasks for the tests of the processes pool: they die, print, grow, fork, or misuse the channel to the worker."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from taskq_cloud.core.model.outcome import ErrorInfo, Outcome, Retrying
from tests.pools.pool_runner import task
from tests.pools.pool_tasks import DEADLINE_SECONDS, TICK_SECONDS, arrivals, arrive, ticks


@task
def die(number: int) -> None:
    os.kill(os.getpid(), number)


@task
def segfault() -> None:
    ctypes.string_at(0)


@task
def exit_now(code: int) -> None:
    os._exit(code)


@task
def speak(text: str) -> None:
    print(text, flush=True)  # noqa: T201


@task
def hoard(megabytes: int) -> int:
    HOARD.append(bytearray(os.urandom(1 << 20) * megabytes))
    return os.getpid()


HOARD: list[bytearray] = []


@task
def large(size: int) -> str:
    return "x" * size


@task
def length(text: str) -> int:
    return len(text)


@task
def babble() -> None:
    """Write bytes that aren't a frame to the channel."""
    for descriptor in own_sockets():
        os.write(descriptor, b"\xff" * 64)


@task
def hang_up() -> None:
    """Close the channel, as a library does that closes all descriptors."""
    for descriptor in own_sockets():
        os.close(descriptor)


@task
def unpicklable() -> Outcome:
    return Retrying(ErrorInfo.of(ValueError()), 1, args=(lambda: None,))


@task
def start_sleeper(pid_file: str) -> None:
    """Start a program and wait for it."""
    start_program(pid_file).wait()


def start_program(pid_file: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(pid_file + ".new").write_text(str(process.pid))
    Path(pid_file + ".new").rename(pid_file)
    return process


@task
def start_sleeper_and_exit(pid_file: str, code: int) -> None:
    """Start a program and end this process in spite of it."""
    start_program(pid_file)
    os._exit(code)


@task
def start_sleeper_and_leave(pid_file: str) -> None:
    """The same in order: the process ends by itself after the task."""
    start_program(pid_file)
    sys.exit()


@task
def leave_sleeper() -> int:
    """Start a program that outlives the task."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid


@task
def fork_and_die(directory: str) -> None:
    """Die while a forked process still has the channel open."""
    if os.fork() == 0:
        arrive(directory)
        time.sleep(600)
    meet_other(directory)
    os.kill(os.getpid(), signal.SIGKILL)


@task
def subprocess_heeds_sigterm() -> int:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    process.terminate()
    return process.wait(DEADLINE_SECONDS)


def meet_other(directory: str) -> None:
    for _ in ticks():
        if arrivals(directory):
            return
        time.sleep(TICK_SECONDS)


def own_sockets() -> list[int]:
    return [int(fd) for fd in arrivals("/proc/self/fd") if is_channel(int(fd))]


def is_channel(descriptor: int) -> bool:
    try:
        return descriptor > 2 and str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith("socket:")
    except OSError:
        return False
