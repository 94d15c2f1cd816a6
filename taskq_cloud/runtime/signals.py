"""The signals that stop a long-running command, and what they do before and after it handles them itself.

The kernel ignores a signal without a handler in a container's first process, so a command needs handlers from its first
moment on. At the end, Python puts the default actions back before the process is gone, and a late signal would turn the
exit code 0 into a death.

Which signals there are depends on the system: Windows has no SIGQUIT and no SIGHUP, but SIGBREAK.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_STOPPING: Final = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGBREAK")
_owns_process = False
_exit_code = 0


def own_process() -> None:
    """Allow ``end_on_signals``: this process runs a command and nothing else. A test that calls a command does not."""
    global _owns_process  # noqa: PLW0603 - a process has one owner
    _owns_process = threading.current_thread() is threading.main_thread()


def stopping_signals() -> list[signal.Signals]:
    """Return the signals that stop a command. SIGHUP is one unless it is ignored, as under ``nohup``."""
    known = {name: getattr(signal, name) for name in _STOPPING if hasattr(signal, name)}
    if "SIGHUP" in known and signal.getsignal(known["SIGHUP"]) is signal.SIG_IGN:
        del known["SIGHUP"]
    return list(known.values())


@contextmanager
def heeding(handler: Callable[[int], object]) -> Iterator[None]:
    """Call a function, in the main thread, for each stopping signal that comes while the context lasts.

    The event loop's own signal handlers would not do: they run on the loop, which a task may block, and Windows has
    none.
    """
    before = {number: signal.signal(number, lambda number, _frame: handler(number)) for number in stopping_signals()}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def end_on_signals() -> None:
    """Let the stopping signals end a command at once, as it has nothing to give back yet. Its exit code is 0."""
    if not _owns_process:
        return
    for number in stopping_signals():
        signal.signal(number, _end)
    # Registered first, so it is called last. Python puts default actions in the place of handlers, not of SIG_IGN.
    atexit.register(_ignore_signals)


def end_with(code: int) -> None:
    """Let a signal that comes from now on end the process with this exit code: its work is done."""
    global _exit_code  # noqa: PLW0603 - a process has one exit code
    _exit_code = code


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(_exit_code)


def _ignore_signals() -> None:
    for number in stopping_signals():
        if signal.getsignal(number) is _end:
            signal.signal(number, signal.SIG_IGN)
