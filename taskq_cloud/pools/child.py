"""The program that each process of the processes pool runs: ``python -m taskq_cloud.pools.child``.

It imports the application, then runs one task at a time in its main thread and answers over its channel. A second
thread watches the channel: when the worker is gone, this process ends too, even in the middle of a task.
"""

from __future__ import annotations

import contextlib
import pickle
import resource
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType

from taskq_cloud.core.model.outcome import Invocation, Lost, Outcome
from taskq_cloud.errors import SoftTimeLimitExceeded
from taskq_cloud.pools.base import Runner
from taskq_cloud.pools.channel import Frames, LoadFailed, Ready, TakenTasks, frame, pack, wait_for_end
from taskq_cloud.pools.child_setup import (
    end_at_once,
    make_runner,
    notify_hooks,
    options_of_program,
    pickled_answer,
    receive_setup,
    set_up_process,
)
from taskq_cloud.pools.own_code import ALARM_AGAIN_SECONDS, Alarms
from taskq_cloud.pools.task_calls import TaskLoop, call, outcome_of_error

_alarms = Alarms()


def main() -> None:
    """Run tasks until the channel ends."""
    options = options_of_program()
    channel, taken = set_up_process(options)
    connection = _WorkerConnection(channel, taken)
    with contextlib.suppress(ConnectionError):  # the worker has died, or has closed the channel
        connection.serve(options.runner, options.argument)
    # Shut it down right away: threads that a task has left behind may keep the interpreter from ending.
    with contextlib.suppress(OSError):
        channel.shutdown(socket.SHUT_RDWR)


class _WorkerConnection:
    """The process's end of the channel: takes tasks from the worker, runs them, and answers."""

    def __init__(self, channel: socket.socket, taken: TakenTasks) -> None:
        self._channel = channel
        self._taken = taken
        self._frames = Frames(channel)
        self._busy = True
        self._worker_is_gone = False
        threading.Thread(target=self._watch, name="taskq-channel", daemon=True).start()

    def serve(self, factory: str, argument: str) -> None:
        setup = receive_setup(self._frames)
        if setup is None:
            return
        try:
            runner = make_runner(factory, argument)
            task_loop = TaskLoop(runner)
            notify_hooks(runner, "process_started", task_loop.complete)
        except BaseException:  # an application may even call sys.exit
            self._busy = False
            self._channel.sendall(pack(LoadFailed(traceback.format_exc())))
            return
        self._busy = False
        self._channel.sendall(pack(Ready()))
        self._run_tasks(runner, task_loop, measures_memory=setup.measures_memory)
        notify_hooks(runner, "process_stopping", task_loop.complete)
        task_loop.close()

    def _run_tasks(self, runner: Runner, task_loop: TaskLoop, *, measures_memory: bool) -> None:
        while (payload := self._frames.receive()) is not None:
            # Set before the other flag is read; the watching thread does it the other way round, so one of them sees
            # the other. If the worker dies after it has sent a task, the task must not start.
            self._busy = True
            if self._worker_is_gone:
                end_at_once()
            self._taken.take()
            outcome = _run(runner, task_loop, payload)
            answer = frame(pickled_answer(outcome, _resident_kib() if measures_memory else 0))
            # Set before the answer is sent: the worker may close the channel as soon as it has the answer, and this
            # process should then end normally.
            self._busy = False
            self._channel.sendall(answer)
            if isinstance(outcome, Lost):
                return

    def _watch(self) -> None:
        # An alarm has to interrupt the main thread, which may be asleep, and not this thread.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        wait_for_end(self._channel)
        self._worker_is_gone = True
        if self._busy:
            end_at_once()


def _run(runner: Runner, task_loop: TaskLoop, payload: bytes) -> Outcome:
    try:
        invocation: Invocation = pickle.loads(payload)
        if runner.is_async(invocation.message.task):
            return task_loop.run(invocation)
        if invocation.soft_time_limit is None:
            return call(runner, invocation)
        return _run_with_alarm(runner, invocation, invocation.soft_time_limit)
    except BaseException as error:  # every run has an outcome
        return outcome_of_error(error)


def _run_with_alarm(runner: Runner, invocation: Invocation, seconds: float) -> Outcome:
    # Set the handler for each run: a task or a library may have set another one.
    signal.signal(signal.SIGALRM, _on_alarm)
    outcome: Outcome | None = None
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            outcome = call(runner, invocation)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            _alarms.forget()
    except SoftTimeLimitExceeded as error:
        # With an outcome, the alarm went off after the task had ended and before the timer was stopped.
        if outcome is None:
            outcome = outcome_of_error(error)
    return outcome


def _on_alarm(_signal_number: int, frame: FrameType | None) -> None:
    if not _alarms.can_raise(frame):
        signal.setitimer(signal.ITIMER_REAL, ALARM_AGAIN_SECONDS)
        return
    raise SoftTimeLimitExceeded


def _resident_kib() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        # Without /proc, take the peak instead: in KiB, on macOS in bytes (getrusage(2)).
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak // 1024 if sys.platform == "darwin" else peak
    return pages * resource.getpagesize() // 1024


if __name__ == "__main__":
    main()
