"""A thread of the operating system that watches over the greenlets of a child process.

Greenlets take turns, and each keeps its turn until it waits. A greenlet that calculates, or waits in code that the
library of greenlets does not know, holds up all others. This thread sees that, tells the worker which task it is, and
has a time limit of that task raised by a signal. When the worker is gone, it ends the process.
"""

from __future__ import annotations

import select
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from taskq_cloud.core.model.outcome import Invocation
from taskq_cloud.pools.channel import TakenTasks
from taskq_cloud.pools.child_setup import end_at_once
from taskq_cloud.pools.hubs import Hub
from taskq_cloud.pools.own_code import stack_of
from taskq_cloud.pools.task_calls import acall, call

LOOK_SECONDS: Final = 0.25
"""How often the thread looks whether greenlets take turns. If there was none between two looks, one holds them up."""
ALARM_AGAIN_SECONDS: Final = 0.02
"""How often a limit is raised, by a signal, that could leave a lock taken where the task is."""

_CALLS: Final = (call.__code__, acall.__code__)


class Watch:
    """Watches over the greenlets of this process.

    Args:
        hub: the library of greenlets.
        channel: the socket to the worker.
        taken: is told which task holds up the others.
        on_alarm: handles SIGALRM in the main thread, in the greenlet whose turn it is.

    Attributes:
        busy: how many tasks run; above 0, the process ends with the worker.
        worker_is_gone: the worker has closed the channel.
        numbers: the identity of an invocation -> the number of the task.
    """

    def __init__(
        self,
        hub: Hub,
        channel: socket.socket,
        taken: TakenTasks,
        on_alarm: Callable[[int, FrameType | None], None],
    ) -> None:
        self.busy = 1  # with the import of the application
        self.worker_is_gone = False
        self.numbers: dict[int, int] = {}
        self._hub = hub
        self._channel = channel
        self._taken = taken
        self._on_alarm = on_alarm
        self._beats = self._seen = 0
        self._beating = False
        self._main_thread: int = hub.original("_thread", "get_ident")()
        hub.original("_thread", "start_new_thread")(self._watch, ())

    def begin(self, number: int) -> None:
        """Note that a task was taken."""
        self.busy += 1
        if self.worker_is_gone:  # the thread sets this before it reads whether the process is busy
            end_at_once()
        if not self._beating:
            self._beating = True
            self._hub.spawn(self._beat)

    def take_alarms(self) -> None:
        """Let time limits be raised by signals from now on."""
        signal.signal(signal.SIGALRM, self._on_alarm)

    def _beat(self) -> None:
        """Count the turns that a greenlet gets."""
        while self.busy:
            self._beats += 1
            self._hub.sleep(LOOK_SECONDS / 2)
        self._beating = False

    def _watch(self) -> None:
        # An alarm has to interrupt the main thread, and not this one.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        ends = self._hub.original("select", "poll")()
        ends.register(self._channel.fileno(), getattr(select, "POLLRDHUP", 0))  # POLLHUP and POLLERR always count
        seconds = LOOK_SECONDS
        while not ends.poll(seconds * 1000):
            seconds = self._look()
        self.worker_is_gone = True
        if self.busy:
            end_at_once()

    def _look(self) -> float:
        """Look for a greenlet that holds up the others, and return after how many seconds to look again."""
        held = self._beating and self._beats == self._seen
        self._seen = self._beats
        if not held:
            if self._taken.holder:
                self._taken.holder = 0
            return LOOK_SECONDS
        self._taken.holder = self._holder()
        if self._taken.holder and signal.getsignal(signal.SIGALRM) == self._on_alarm:
            signal.pthread_kill(self._main_thread, signal.SIGALRM)
            return ALARM_AGAIN_SECONDS
        return LOOK_SECONDS

    def _holder(self) -> int:
        """Return the number of the task whose code the main thread executes; 0 if that is none."""
        frame: Any = sys._current_frames().get(self._main_thread)  # noqa: SLF001 - no public function does it
        for caller in stack_of(frame):
            if caller.f_code in _CALLS:
                invocation = caller.f_locals.get("invocation")
                if isinstance(invocation, Invocation):
                    return self.numbers.get(id(invocation), 0)
        return 0
