"""Tasks for the tests of all pools: each as a plain function and, with the prefix ``a``, as a coroutine function."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from taskq_cloud.errors import SoftTimeLimitExceeded, TimeLimitExceeded
from tests.pools.pool_runner import task

DEADLINE_SECONDS = 20.0
TICK_SECONDS = 0.002


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
    """Return once ``size`` runs are under way at the same time."""
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
    """Run Python code until the deadline."""
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
    """Catch the soft limit and return."""
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
    """Ignore the hard limit, and end only when a file exists."""
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
    """Raise CancelledError although nobody has cancelled the task."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


@task
async def nested(directory: str) -> str:
    """Get the soft limit through a task group and a timeout."""
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
    """Await a subtask that swallows the cancellation, and get the soft limit in spite of that."""

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


def is_there(path: str) -> bool:
    return Path(path).exists()


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


@task
async def cancel_itself() -> None:
    current = asyncio.current_task()
    assert current is not None
    current.cancel()
    await asyncio.sleep(DEADLINE_SECONDS)


@task
async def cancel_itself_and_go_on() -> str:
    try:
        await cancel_itself()
    except asyncio.CancelledError:
        await asyncio.sleep(0)
    return "went on"


def _raise(error: type[BaseException]) -> None:
    raise error


def _touch(directory: str, name: str) -> None:
    Path(directory, name).touch()


async def _raise_in_background(directory: str, error: type[BaseException]) -> None:
    asyncio.get_running_loop().call_soon(_raise, error)
    try:
        await asyncio.sleep(0.05)
        _touch(directory, "went on")
    finally:
        _touch(directory, "ended")


@task
async def exit_in_background(directory: str) -> None:
    await _raise_in_background(directory, SystemExit)


@task
async def interrupt_in_background(directory: str) -> None:
    await _raise_in_background(directory, KeyboardInterrupt)


@task
async def wait_a_little() -> None:
    await asyncio.sleep(0.2)


@task
async def cancel_all_tasks() -> str:
    for each in asyncio.all_tasks():
        each.cancel()
    await asyncio.sleep(TICK_SECONDS)
    return "not cancelled"


@task
async def end_the_loop_like_asyncio_run() -> str:
    """Cancel the other tasks of the loop and wait for them, as the end of ``asyncio.run`` does."""
    loop = asyncio.get_running_loop()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for each in others:
        each.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await loop.shutdown_asyncgens()
    return f"{len(others)} others"


@task
async def ameet_in_group(directory: str, size: int) -> int:
    """Meet in a child task, and give the others time to do what they have come for."""
    async with asyncio.TaskGroup() as group:
        met = group.create_task(ameet(directory, size))
    await asyncio.sleep(20 * TICK_SECONDS)
    result: int = met.result()
    return result


@task
async def meet_and_cancel_all(directory: str, size: int) -> str:
    await ameet(directory, size)
    text: str = await cancel_all_tasks()
    return text


@task
async def cancel_background_of_ended_run() -> bool:
    [left] = [each for each in asyncio.all_tasks() if each.get_name() == "background"]
    return left.cancel()


@task
async def leave_background() -> None:
    asyncio.get_running_loop().background = asyncio.create_task(  # type: ignore[attr-defined]
        asyncio.sleep(DEADLINE_SECONDS), name="background"
    )
