"""Tell whether a time limit may be raised at the instruction that a thread is about to execute.

A time limit is an exception that nobody expects where it is raised. In a library, such as ``logging``, that may be
between the taking of a lock and the ``try`` that gives it back, or in code that swallows exceptions. So a limit is
raised only in the packages that declare tasks, and there only where it does not prevent a block from being left in
order: ``_places`` says where.
"""

from __future__ import annotations

import dis
from collections.abc import Collection, Sequence
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any, Final

_LEAVE_WITH: Final = 3
"""A ``with`` block ends with ``__exit__(None, None, None)``, which begins with as many loads of None."""


def top_package(frame: FrameType) -> str:
    """Return the name of the top-level package, or module, that a frame's code is in."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def can_take_limit(frame: FrameType, packages: Collection[str]) -> bool:
    """Tell whether an exception that is raised at the frame's current instruction reaches the task and does no harm.

    Args:
        frame: the innermost frame of a thread that runs a task.
        packages: the top-level packages that declare tasks.
    """
    if top_package(frame) not in packages or frame.f_lasti not in _places(frame.f_code):
        return False
    caller: FrameType | None = frame
    while caller is not None:
        # A finalizer's exceptions are swallowed, and so are those of a handler or formatter that logging calls.
        if caller.f_code.co_name == "__del__" or top_package(caller) == "logging":
            return False
        if top_package(caller) in packages and caller.f_lineno in _lines_of_finally(caller.f_code):
            return False
        caller = caller.f_back
    return True


def is_logging(frame: FrameType | None) -> bool:
    """Tell whether a frame, or one of its callers, is in ``logging``, which holds locks and swallows exceptions."""
    while frame is not None:
        if top_package(frame) == "logging":
            return True
        frame = frame.f_back
    return False


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
