"""The runner for the tests of pools, and the registry of its tasks. The child processes import this module too."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from taskq_cloud.core.model.hooks import HookTable
from taskq_cloud.core.model.outcome import ErrorInfo, Failed, Invocation, Outcome, Retrying, Succeeded
from taskq_cloud.errors import TimeLimitExceeded

TASKS: dict[str, Callable[..., Any]] = {}
TASK_MODULES = tuple(f"tests.pools.{kind}_tasks" for kind in ("pool", "limit", "process", "greenlet"))


def task(function: Callable[..., Any]) -> Callable[..., Any]:
    TASKS[function.__name__] = function
    return function


class PoolRunner:
    """Runs the tasks in ``TASKS``."""

    def __init__(self) -> None:
        self.hooks: HookTable = {}
        for module in TASK_MODULES:
            import_module(module)

    @property
    def packages(self) -> frozenset[str]:
        return frozenset(function.__module__.partition(".")[0] for function in TASKS.values())

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
    """Return the runner in a child process. Some arguments make it raise, exit or crash instead."""
    if argument == "broken":
        raise RuntimeError("this application does not import")
    if argument == "exits":
        sys.exit("not like this")
    if argument == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if argument == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if argument.startswith("killed once, see "):
        with contextlib.suppress(FileExistsError):
            Path(argument.removeprefix("killed once, see "), "killed").touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
    if argument.startswith("broken if "):
        path = Path(argument.removeprefix("broken if "))
        if path.exists():
            raise RuntimeError(f"{path} is there")
    return PoolRunner()
