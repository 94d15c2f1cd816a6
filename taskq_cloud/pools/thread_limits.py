"""Raise an exception in a thread that runs a task, as soon as the thread executes the application's own code.

CPython can raise an exception in another thread (``PyThreadState_SetAsyncExc``), but wherever the thread is, for
example inside ``logging``'s lock, which is then never given back. So this module has the interpreter tell it, once a
limit has passed, about each instruction that the thread executes, and raises the limit at the first one that can take
it (``own_code``). Before a limit has passed, nothing is observed and nothing is slower.

From Python 3.12 on, ``sys.monitoring`` observes single functions. Python 3.11 has only the trace function of a whole
thread, which another thread can set through the C API.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Collection
from functools import cache
from types import CodeType, FrameType
from typing import Any, Final

from taskq_cloud.pools.own_code import can_take_limit, stack_of, top_package

_WORDS_OF_THREAD_STATE: Final = 16


class ThreadLimits:
    """Raises limits in the thread that has created the object."""

    def __init__(self) -> None:
        self._ident = threading.get_ident()
        self._error: type[Exception] | None = None
        self._packages: Collection[str] = ()
        self._closed = False
        # Only code of this module runs under the lock, and an exception is never raised in it.
        self._lock = threading.RLock()

    @property
    def pending(self) -> bool:
        """Whether an exception was requested that was neither raised nor withdrawn."""
        return self._error is not None

    def request(self, error: type[Exception], packages: Collection[str]) -> None:
        """Raise an exception in the thread as soon as it can take it. Any thread may call this method.

        Call it again now and then while the exception is pending: functions that the thread has called in the meantime
        are then observed, too.

        Args:
            error: the exception's class.
            packages: the top-level packages that declare tasks.
        """
        with self._lock:
            if not self._closed:
                self._packages, self._error = packages, error
                self._observe()

    def withdraw(self) -> None:
        """Raise nothing any more. Only the thread itself calls this method."""
        with self._lock:
            self._error = None
            self._observe_nothing()

    def close(self) -> None:
        """Withdraw the request, and take no further one: the thread is about to end."""
        with self._lock:
            self._closed = True
            self.withdraw()

    def _raise_at(self, frame: FrameType) -> None:
        error = self._error
        if error is not None and can_take_limit(frame, self._packages):
            self.withdraw()
            raise error

    def _own_frames(self) -> list[FrameType]:
        frame = sys._current_frames().get(self._ident)  # noqa: SLF001 - no public function does it
        return [each for each in stack_of(frame) if top_package(each) in self._packages]

    def _observe(self) -> None:
        raise NotImplementedError

    def _observe_nothing(self) -> None:
        raise NotImplementedError


def make_thread_limits() -> ThreadLimits:
    """Make the object that raises limits in the calling thread."""
    if sys.version_info >= (3, 12):
        return _MonitoredLimits()
    return _TracedLimits()


if sys.version_info >= (3, 12):
    _TOOL_NAME: Final = "taskq_cloud time limits"
    # sys.monitoring reserves these ids for no kind of tool.
    _FREE_TOOL_IDS: Final = (4, 3)
    _observed: dict[int, _MonitoredLimits] = {}

    class _MonitoredLimits(ThreadLimits):
        """Observes the application's functions in which the thread is."""

        def __init__(self) -> None:
            super().__init__()
            self._codes: set[CodeType] = set()

        def _observe(self) -> None:
            tool_id = _tool_id()
            if tool_id is None:  # both ids are taken, so no limit is raised
                return
            _observed[self._ident] = self
            for frame in self._own_frames():
                self._codes.add(frame.f_code)
                sys.monitoring.set_local_events(tool_id, frame.f_code, sys.monitoring.events.INSTRUCTION)

        def _observe_nothing(self) -> None:
            _observed.pop(self._ident, None)
            codes, self._codes = self._codes, set()
            shared = {code for other in list(_observed.values()) for code in list(other._codes)}  # noqa: SLF001
            for code in codes - shared:
                sys.monitoring.set_local_events(_tool_id(), code, 0)

    @cache
    def _tool_id() -> int | None:
        for tool_id in _FREE_TOOL_IDS:
            if sys.monitoring.get_tool(tool_id) is None:
                sys.monitoring.use_tool_id(tool_id, _TOOL_NAME)
                sys.monitoring.register_callback(tool_id, sys.monitoring.events.INSTRUCTION, _on_instruction)
                return tool_id
        return None

    def _on_instruction(*_: object) -> None:
        limits = _observed.get(threading.get_ident())
        if limits is not None:
            limits._raise_at(sys._getframe(1))  # noqa: SLF001

else:

    class _TracedLimits(ThreadLimits):
        """Sets the thread's trace function, unless a debugger traces the task."""

        def __init__(self) -> None:
            super().__init__()
            self._state = _state_of_this_thread()

        def _observe(self) -> None:
            dispatcher = _trace_dispatcher()
            if dispatcher is None or any(frame.f_trace for frame in self._own_frames()):
                return
            set_trace = ctypes.pythonapi._PyEval_SetTrace  # noqa: SLF001 - no public function takes a thread
            set_trace.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.py_object)
            set_trace(self._state, dispatcher, self._trace)
            for frame in self._own_frames():
                self._trace(frame, "call", None)
                frame.f_trace = self._trace

        def _observe_nothing(self) -> None:
            if sys.gettrace() == self._trace:
                sys.settrace(None)

        def _trace(self, frame: FrameType, event: str, _argument: object) -> Callable[..., Any] | None:
            if not self.pending or top_package(frame) not in self._packages:
                return None
            frame.f_trace_opcodes = True
            if event == "opcode":
                self._raise_at(frame)
            return self._trace

    def _state_of_this_thread() -> int:
        get_state = ctypes.pythonapi.PyThreadState_Get
        get_state.restype = ctypes.c_void_p
        address: int = get_state()
        return address

    @cache
    def _trace_dispatcher() -> int | None:
        """Return the address of the C function that calls trace functions written in Python; None: it can't be found.

        ``sys.settrace`` writes it into the thread's state, two words before the trace function.
        """
        found: list[int] = []

        def trace(*_: object) -> None:
            return None

        def probe() -> None:
            state = (ctypes.c_void_p * _WORDS_OF_THREAD_STATE).from_address(_state_of_this_thread())
            sys.settrace(trace)
            words = list(state)
            sys.settrace(None)
            if id(trace) in words[2:]:
                at = words.index(id(trace)) - 2
                found.extend(word for word in (words[at],) if word is not None and state[at] is None)

        thread = threading.Thread(target=probe, name="taskq-probe")  # not this thread, which may be traced
        thread.start()
        thread.join()
        return found[0] if found else None
