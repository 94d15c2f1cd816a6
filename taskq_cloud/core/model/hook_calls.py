"""Calls the methods of hooks. An error of a hook is logged, and never leaves this module.

Only processes whose application has hooks import this module.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from inspect import isawaitable, iscoroutinefunction
from typing import Any, Final, TypeAlias

from taskq_cloud.core.model.hooks import Call, Hooks, HookTable, Received
from taskq_cloud.core.model.task_names import EVERY_TASK
from taskq_cloud.errors import ImproperlyConfigured, TimeLimitExceeded

logger: Final = logging.getLogger("taskq_cloud.hooks")

Complete: TypeAlias = Callable[[Awaitable[Any]], object]
"""Runs what a coroutine function has returned to its end, in this thread."""

_QUICK: Final = (
    "before_send",
    "after_send",
    "task_received",
    "task_revoked",
    "task_rejected",
    "task_unknown",
    "task_cut_off",
)
"""Methods that can't be coroutine functions: they are called while messages are sent and received."""


def checked(hooks: Iterable[Hooks], of: str) -> tuple[Hooks, ...]:
    """Check hooks, and return them.

    Args:
        hooks: the hooks.
        of: the task or application that they are for, for the error.

    Raises:
        ImproperlyConfigured: one of them is not an instance of ``Hooks``, or has a coroutine function where none can
            be.
    """
    found = tuple(hooks)
    for each in found:
        if not isinstance(each, Hooks):
            hint = "; make an object of the class" if isinstance(each, type) and issubclass(each, Hooks) else ""
            raise ImproperlyConfigured(f"{of}: hooks takes objects of subclasses of Hooks, not {each!r:.100}{hint}")
        wrong = next((name for name in _QUICK if iscoroutinefunction(getattr(each, name))), None)
        if wrong is not None:
            raise ImproperlyConfigured(
                f"{of}: {type(each).__qualname__}.{wrong} can't be a coroutine function, because it is called while "
                "messages are sent or received: make it a plain function"
            )
    return found


def hooks_of(table: HookTable, task: str) -> tuple[Hooks, ...]:
    """The hooks that a task's runs and messages have: the application's, and then the task's own."""
    return table.get(EVERY_TASK, ()) + table.get(task, ())


class guarded:
    """A block in which a method of hooks is called. Its error is logged, and ends the block only.

    Args:
        hooks: the hooks.
        method: the name of the method.
        task: the task's name; None: the method is not about a task.
        task_id: the task's id.
        through: exceptions that leave the block all the same. The hard time limit always does, and so does what ends a
            thread or a process from outside, such as a cancellation or ``KeyboardInterrupt``. ``SystemExit`` is an
            error of the hook: it must not decide about the task, or end the process.
    """

    def __init__(
        self,
        hooks: Hooks,
        method: str,
        task: str | None = None,
        task_id: str | None = None,
        *,
        through: tuple[type[BaseException], ...] = (),
    ) -> None:
        self._hooks = hooks
        self._method = method
        self._task = task
        self._task_id = task_id
        self._through = (*through, TimeLimitExceeded)

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        if error is None or isinstance(error, self._through):
            return False
        if isinstance(error, asyncio.CancelledError):
            if _is_cancelled():
                return False
        elif not isinstance(error, (Exception, SystemExit)):
            return False
        self._log(error)
        return True

    def _log(self, error: BaseException) -> None:
        name = f"{type(self._hooks).__module__}.{type(self._hooks).__qualname__}.{self._method}"
        extra: dict[str, Any] = {"action": "hook.failed", "hook": name}
        if self._task is None:
            logger.error("hook %s failed: %r", name, error, exc_info=error, extra=extra)
            return
        extra |= {"task": self._task, "task_id": self._task_id}
        text = "task %s[%s]: hook %s failed, and the task goes on without it: %r"
        logger.error(text, self._task, self._task_id, name, error, exc_info=error, extra=extra)


def call_quick(hooks: Iterable[Hooks], method: str, about: Call | Received, *more: Any) -> None:
    """Call a method about a message, which is not a coroutine function, of each of the hooks."""
    for each in hooks:
        with guarded(each, method, about.task, about.id):
            getattr(each, method)(about, *more)


def notify(table: HookTable, method: str, *args: Any, complete: Complete) -> None:
    """Call a method about a process or a function of all hooks; a task's own ones are asked, too.

    A process that a hook ends by ``SystemExit`` when it starts does not start.

    Args:
        table: the application's hooks.
        method: the name of the method.
        args: its arguments.
        complete: runs what a coroutine function has returned to its end.
    """
    through = (SystemExit,) if method == "process_started" else ()
    for each in _all(table, method):
        with guarded(each, method, through=through):
            given = getattr(each, method)(*args)
            if isawaitable(given):
                complete(given)


async def anotify(table: HookTable, method: str, *args: Any) -> None:
    """Call a method of all hooks on the running event loop: see ``notify``."""
    for each in _all(table, method):
        with guarded(each, method):
            given = getattr(each, method)(*args)
            if isawaitable(given):
                await given


def _is_cancelled() -> bool:
    """Whether the asyncio task that is running was cancelled from outside."""
    try:
        running = asyncio.current_task()
    except RuntimeError:
        return False  # no loop runs here
    return running is not None and running.cancelling() > 0


def _all(table: HookTable, method: str) -> list[Hooks]:
    """All hooks, each of them once; those that stop something are asked in reverse order."""
    found = list({id(each): each for hooks in table.values() for each in hooks}.values())
    return found[::-1] if method.endswith("_stopping") else found
