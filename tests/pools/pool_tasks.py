"""A runner for the pools' tests, and its tasks: each as a plain function and, named ``a...``, as a coroutine function.

The pools' processes import this module too.
"""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from taskq_cloud.core.model.outcome import ErrorInfo, Failed, Invocation, Outcome, Retrying, Succeeded
from taskq_cloud.errors import SoftTimeLimitExceeded, TimeLimitExceeded

DEADLINE_SECONDS = 20.0
TICK_SECONDS = 0.002

TASKS: dict[str, Callable[..., Any]] = {}


def task(function: Callable[..., Any]) -> Callable[..., Any]:
    TASKS[function.__name__] = function
    return function


class PoolRunner:
    """Runs what TASKS holds."""

    def is_async(self, name: str) -> bool:
        return inspect.iscoroutinefunction(TASKS[name])

    def run(self, invocation: Invocation) -> Outcome:
        message = invocation.message
        try:
            return outcome_of(TASKS[message.task](*message.args, **message.kwargs))
        except TimeLimitExceeded:
            raise
        except Exception as error:
            return Failed(ErrorInfo.of(error))

    async def arun(self, invocation: Invocation) -> Outcome:
        message = invocation.message
        try:
            return outcome_of(await TASKS[message.task](*message.args, **message.kwargs))
        except Exception as error:
            return Failed(ErrorInfo.of(error))


def outcome_of(value: Any) -> Outcome:
    return value if isinstance(value, Retrying) else Succeeded(json.dumps(value))


def load(argument: str) -> PoolRunner:
    """What the processes call; the argument says what goes wrong."""
    if argument == "broken":
        raise RuntimeError("this application does not import")
    if argument == "exits":
        sys.exit("not like this")
    if argument == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if argument.startswith("broken if "):
        path = Path(argument.removeprefix("broken if "))
        if path.exists():
            raise RuntimeError(f"{path} is there")
    return PoolRunner()


def ticks() -> Iterator[None]:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        yield
    raise TimeoutError("nothing happened until the deadline")


def arrive(directory: str) -> None:
    Path(directory, f"{os.getpid()}-{time.monotonic_ns()}-{os.urandom(4).hex()}").touch()


def arrivals(directory: str | Path) -> list[str]:
    return [path.name for path in Path(directory).iterdir()]


@task
def add(a: int, b: int) -> int:
    return a + b


@task
async def aadd(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


@task
def fail() -> None:
    raise LookupError("no such thing", 7)


@task
async def afail() -> None:
    await asyncio.sleep(0)
    raise LookupError("no such thing", 7)


@task
def meet(directory: str, size: int) -> int:
    """Return when ``size`` runs are here at the same time."""
    arrive(directory)
    for _ in ticks():
        if len(arrivals(directory)) >= size:
            return size
        time.sleep(TICK_SECONDS)
    return 0


@task
async def ameet(directory: str, size: int) -> int:
    arrive(directory)
    for _ in ticks():
        if len(arrivals(directory)) >= size:
            return size
        await asyncio.sleep(TICK_SECONDS)
    return 0


@task
def hang(directory: str) -> None:
    """Run on, in Python code."""
    arrive(directory)
    try:
        for _ in ticks():
            time.sleep(TICK_SECONDS)
    finally:
        arrive(directory)


@task
async def ahang(directory: str) -> None:
    arrive(directory)
    try:
        await asyncio.sleep(DEADLINE_SECONDS)
    finally:
        arrive(directory)


@task
def clean_up(directory: str) -> str:
    """Catch the soft limit."""
    try:
        hang(directory)
    except SoftTimeLimitExceeded:
        return "cleaned up"
    return "never limited"


@task
async def aclean_up(directory: str) -> str:
    try:
        await ahang(directory)
    except SoftTimeLimitExceeded:
        await asyncio.sleep(0)
        return "cleaned up"
    return "never limited"


@task
def leave() -> None:
    sys.exit(3)


@task
async def aleave() -> None:
    sys.exit(3)


@task
def stubborn(release: str) -> None:
    """End for nothing but a file."""
    for _ in ticks():
        try:
            if is_there(release):
                return
            time.sleep(TICK_SECONDS)
        except TimeLimitExceeded:
            continue


@task
async def astubborn(release: str) -> None:
    for _ in ticks():
        try:
            if is_there(release):
                return
            await asyncio.sleep(TICK_SECONDS)
        except asyncio.CancelledError:
            continue


@task
async def await_cancelled() -> None:
    """Raise CancelledError though nobody has cancelled the task."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


@task
async def nested(directory: str) -> str:
    """Meet the soft limit with a subtask and a timeout in between."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(DEADLINE_SECONDS))
            await ahang(directory)
    except* SoftTimeLimitExceeded:
        pass
    current = asyncio.current_task()
    return f"{current.cancelling() if current else None} cancellations"


@task
async def swallowed(directory: str) -> str:
    """Await a subtask that takes the cancellation for itself, then meet the limit all the same."""

    async def subtask() -> None:
        try:
            await ahang(directory)
        except asyncio.CancelledError:
            return

    try:
        await asyncio.create_task(subtask())
    except SoftTimeLimitExceeded:
        return "limited"
    return "not limited"


@task
def pid() -> int:
    return os.getpid()


@task
async def apid() -> int:
    return os.getpid()


@task
def thread_id() -> int:
    return threading.get_ident()


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
    """Write to the channel what is no frame."""
    for descriptor in own_sockets():
        os.write(descriptor, b"\xff" * 64)


@task
def hang_up() -> None:
    """Close the channel, as a library that closes all descriptors does."""
    for descriptor in own_sockets():
        os.close(descriptor)


@task
def unpicklable() -> Outcome:
    return Retrying(ErrorInfo.of(ValueError()), 1, args=(lambda: None,))


@task
def start_sleeper(pid_file: str) -> None:
    """Start a process of one's own and wait for it."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(pid_file + ".new").write_text(str(process.pid))
    Path(pid_file + ".new").rename(pid_file)
    process.wait()


@task
def fork_and_die(directory: str) -> None:
    """Die with the channel still open in a forked process."""
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


def is_there(path: str) -> bool:
    return Path(path).exists()


def own_sockets() -> list[int]:
    return [int(fd) for fd in arrivals("/proc/self/fd") if is_channel(int(fd))]


def is_channel(descriptor: int) -> bool:
    try:
        return descriptor > 2 and str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith("socket:")
    except OSError:
        return False


@task
async def aloop_id() -> int:
    return id(asyncio.get_running_loop())


COLOUR: ContextVar[str] = ContextVar("colour", default="unset")


@task
def set_context() -> str:
    found = COLOUR.get()
    COLOUR.set("red")
    return found


@task
async def aset_context() -> str:
    found = COLOUR.get()
    COLOUR.set("red")
    return found


@task
async def ahang_twice(directory: str) -> None:
    try:
        await ahang(directory)
    except SoftTimeLimitExceeded:
        await ahang(directory)
