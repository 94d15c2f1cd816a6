"""Tell whether a time limit may be raised at the instruction that a thread is about to execute.

A time limit is an exception that nobody expects where it is raised. In a library, such as ``logging``, that may be
between the taking of a lock and the ``try`` that gives it back, or in code that swallows exceptions. So a limit is
raised only in the packages that declare tasks, and there only where it does not prevent a block from being left in
order: ``_places`` says where.
"""

from __future__ import annotations

import dis
import time
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any, Final

ALARM_AGAIN_SECONDS: Final = 0.001
"""How long to wait before a time limit that could leave a lock taken is raised."""

BLOCKED_ALARMS: Final = 50
"""A thread waits at an instruction if so many alarms in a row meet it there, and it has hardly used the processor."""

_LEAVE_WITH: Final = 3
"""A ``with`` block ends with ``__exit__(None, None, None)``, which begins with as many loads of None."""


_LOCKING: Final = frozenset(
    {"__enter__", "__exit__", "acquire", "release", "notify", "notify_all", "_release_save", "_acquire_restore"}
)
"""Functions that take or give back a lock for a ``with`` block, such as those of ``threading.Condition``."""


def top_package(frame: FrameType) -> str:
    """Return the name of the top-level package, or module, that a frame's code is in."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def stack_of(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield a frame and its callers."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def can_take_limit(frame: FrameType, packages: Collection[str]) -> bool:
    """Tell whether an exception that is raised at the frame's current instruction reaches the task and does no harm.

    Args:
        frame: the innermost frame of a thread that runs a task.
        packages: the top-level packages that declare tasks.
    """
    if top_package(frame) not in packages or frame.f_lasti not in _places(frame.f_code):
        return False
    for caller in stack_of(frame):
        # A finalizer's exceptions are swallowed, and so are those of a handler or formatter that logging calls.
        if caller.f_code.co_name == "__del__" or top_package(caller) == "logging":
            return False
        if top_package(caller) in packages and caller.f_lineno in _lines_of_finally(caller.f_code):
            return False
    return True


class Alarms:
    """The alarms that meet a thread while a time limit waits for a place where it does no harm.

    The alarm of a process raises a limit also in libraries, whose blocking calls it has to end.
    """

    def __init__(self) -> None:
        self._frame: FrameType | None = None
        self._instruction = -1
        self._in_a_row = 0
        self._busy_until = 0.0

    def can_raise(self, frame: FrameType | None) -> bool:
        """Tell whether a signal handler may raise a limit now; if not, the alarm is to go off again.

        Args:
            frame: the frame that the signal has interrupted.
        """
        if frame is None or _is_logging(frame):  # logging would keep its lock, or swallow the exception
            return False
        if not _could_leave_lock(frame) or self._is_blocked(frame):
            self.forget()
            return True
        return False

    def forget(self) -> None:
        """Forget the last alarm, whose frame would keep the task's objects alive."""
        self._frame = None

    def _is_blocked(self, frame: FrameType) -> bool:
        """Tell whether the thread waits at this instruction, and so has taken no lock there yet."""
        if frame is not self._frame or frame.f_lasti != self._instruction:
            self._frame, self._instruction, self._in_a_row = frame, frame.f_lasti, 0
            self._busy_until = time.thread_time() + BLOCKED_ALARMS * ALARM_AGAIN_SECONDS / 4
        self._in_a_row += 1
        if self._in_a_row < BLOCKED_ALARMS:
            return False
        self._frame = None
        return time.thread_time() < self._busy_until


def _could_leave_lock(frame: FrameType) -> bool:
    """Tell whether an exception that a signal handler raises could leave a lock taken, or be swallowed.

    Python calls a signal handler after a call, at the beginning of a function, at the end of a loop, and within a
    blocking call. A lock stays taken if that is in the function that takes or releases it for a ``with`` block, or
    between the call that has taken it and the ``try`` that gives it back.

    Args:
        frame: the frame that the signal has interrupted.
    """
    code = frame.f_code
    if (
        code.co_name in _LOCKING
        or frame.f_lineno in _lines_of_finally(code)
        or frame.f_lasti in _calls_before_try(code)
    ):
        return True
    # A finalizer's exceptions are swallowed. The handler of an earlier alarm may itself be where a lock is taken.
    return any(caller.f_code.co_name in ("__del__", "_on_alarm") for caller in stack_of(frame))


def _is_logging(frame: FrameType) -> bool:
    """Tell whether a frame, or one of its callers, is in ``logging``, which holds locks and swallows exceptions."""
    return any(top_package(caller) == "logging" for caller in stack_of(frame))


@lru_cache(maxsize=512)
def _places(code: CodeType) -> frozenset[int]:
    """Return the offsets of the instructions before which a limit may be raised.

    These are the beginnings of lines, the ends of loops, and within a ``try`` or ``with`` block also the returns of
    calls: a handler around a call that took too long then catches the limit. Excluded are the end of a ``with`` block,
    ``finally`` blocks, the beginning of a handler, and a call just before ``try``, which may have taken a lock.
    """
    instructions = list(dis.get_instructions(code))
    entries = _exception_table(code)
    starts = {entry.start for entry in entries}
    line_starts = {offset for offset, line in dis.findlinestarts(code) if line is not None}
    finally_lines = _lines_of_finally(code)
    found = set()
    for i, each in enumerate(instructions):
        after_call = i > 0 and instructions[i - 1].opname.startswith("CALL")
        in_block = any(entry.start <= each.offset < entry.end for entry in entries)
        if not (each.offset in line_starts or _ends_loop(each) or (after_call and in_block)):
            continue
        line = each.positions.lineno if each.positions else None
        if line not in finally_lines and not _is_edge(instructions, i, starts):
            found.add(each.offset)
    return frozenset(found)


@lru_cache(maxsize=512)
def _calls_before_try(code: CodeType) -> frozenset[int]:
    """Return the offsets of the calls whose return a ``try`` or ``with`` block follows at once."""
    instructions = list(dis.get_instructions(code))
    starts = {entry.start for entry in _exception_table(code)}
    found = set()
    for i, each in enumerate(instructions[:-1]):
        if each.opname.startswith("CALL") and _is_edge(instructions, i + 1, starts):
            found.add(each.offset)
            if instructions[i - 1].opname == "PRECALL":  # Python 3.11 makes some calls in this one
                found.add(instructions[i - 1].offset)
    return frozenset(found)


def _ends_loop(instruction: dis.Instruction) -> bool:
    name = instruction.opname
    return "JUMP_BACKWARD" in name and not name.endswith("NO_INTERRUPT")


def _is_edge(instructions: Sequence[dis.Instruction], i: int, starts: set[int]) -> bool:
    """Tell whether an instruction begins a handler, leaves a ``with`` block, or is between a call and a ``try``."""
    if instructions[i].opname == "PUSH_EXC_INFO":
        return True
    leaving = instructions[i : i + _LEAVE_WITH]
    if len(leaving) == _LEAVE_WITH and all(each.opname == "LOAD_CONST" and each.argval is None for each in leaving):
        return True
    while instructions[i].opname == "NOP" or instructions[i].opname.startswith(("POP_TOP", "STORE_")):
        i += 1
        if i == len(instructions):
            return False
        if instructions[i].offset in starts:
            return True
    return False


@lru_cache(maxsize=512)
def _lines_of_finally(code: CodeType) -> frozenset[int]:
    """Return the lines of a function's ``finally`` blocks, which are compiled twice: with and without an exception.

    A line of ``with`` is one of them: it is the line at which the block is left.
    """
    entries = _exception_table(code)
    handlers = []
    for start in {entry.target for entry in entries}:
        covering = next((entry.target for entry in entries if entry.start == start), None)
        handlers.append((start, max((entry.end for entry in entries if entry.target == covering), default=start)))
    inside: set[int] = set()
    outside: set[int] = set()
    for each in dis.get_instructions(code):
        line = each.positions.lineno if each.positions else None
        if line is not None:
            in_handler = any(start <= each.offset < end for start, end in handlers)
            (inside if in_handler else outside).add(line)
    return frozenset(inside & outside)


def _exception_table(code: CodeType) -> Sequence[Any]:
    entries: Sequence[Any] = getattr(dis.Bytecode(code), "exception_entries")  # noqa: B009 - typeshed doesn't know it
    return entries
