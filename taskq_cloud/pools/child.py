"""The program that each process of the processes pool runs: ``python -m taskq_cloud.pools.child``.

It imports the application, then runs one task at a time in its main thread and answers over its channel. A second
thread watches the channel: when the worker is gone, this process ends too, even in the middle of a task.

Its standard output and error are the worker's. Terminals and supervisors send signals to whole groups of processes, but
only the worker decides whether a task is to end. So this process ignores the signals that ask it to end.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import os
import pickle
import resource
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from taskq_cloud.core.model.outcome import Invocation, Lost, Outcome
from taskq_cloud.errors import SoftTimeLimitExceeded
from taskq_cloud.pools.base import Runner
from taskq_cloud.pools.channel import Answer, Frames, LoadFailed, Ready, Setup, TakenTasks, frame, pack, wait_for_end
from taskq_cloud.pools.own_code import ALARM_AGAIN_SECONDS, Alarms
from taskq_cloud.pools.task_calls import TaskLoop, call, outcome_of_error

REQUESTS_TO_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

# prctl(2)
PR_SET_PDEATHSIG = 1

STOPPING_SECONDS = 5.0
"""How long the hooks of a process that ends may take. A worker that is alive kills the process before that."""

_alarms = Alarms()


def main() -> None:
    """Run tasks until the channel ends."""
    parser = argparse.ArgumentParser(description="Run tasks for a worker. The worker's processes pool starts this.")
    parser.add_argument("--channel", type=int, required=True, help="the file descriptor of the socket to the worker")
    parser.add_argument("--taken", type=int, required=True, help="the file descriptor of the count of taken tasks")
    parser.add_argument("--runner", required=True, help="module:callable that returns the runner")
    parser.add_argument("argument", help="the callable's argument: the path of the application")
    options = parser.parse_args()
    faulthandler.enable()
    _ignore_requests_to_end()
    _die_with_parent()
    channel = socket.socket(fileno=options.channel)
    # A task's own subprocesses must not inherit it: the channel has to end when this process does.
    channel.set_inheritable(False)
    taken = TakenTasks(os.dup(options.taken))  # file descriptors are not inheritable unless they are told to be
    os.close(options.taken)
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
        setup = self._frames.receive()
        if setup is None:
            return
        first: Setup = pickle.loads(setup)
        sys.path[:] = first.search_path
        try:
            runner = _make_runner(factory, argument)
            task_loop = TaskLoop(runner)
            if runner.hooks:
                _notify(runner, task_loop, "process_started")
        except BaseException:  # an application may even call sys.exit
            self._busy = False
            self._channel.sendall(pack(LoadFailed(traceback.format_exc())))
            return
        self._busy = False
        self._channel.sendall(pack(Ready()))
        self._run_tasks(runner, task_loop, measures_memory=first.measures_memory)
        if runner.hooks:
            with _ending_after(STOPPING_SECONDS):
                _notify(runner, task_loop, "process_stopping")
        task_loop.close()

    def _run_tasks(self, runner: Runner, task_loop: TaskLoop, *, measures_memory: bool) -> None:
        while (payload := self._frames.receive()) is not None:
            # Set before the other flag is read; the watching thread does it the other way round, so one of them sees
            # the other. If the worker dies after it has sent a task, the task must not start.
            self._busy = True
            if self._worker_is_gone:
                _end_at_once()
            self._taken.take()
            outcome = _run(runner, task_loop, payload)
            answer = _pack_answer(outcome, _resident_kib() if measures_memory else 0)
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
            _end_at_once()


def _make_runner(factory: str, argument: str) -> Runner:
    module, _, name = factory.partition(":")
    runner: Runner = getattr(import_module(module), name)(argument)
    return runner


def _notify(runner: Runner, task_loop: TaskLoop, method: str) -> None:
    from taskq_cloud.core.model.hook_calls import notify  # few applications have hooks

    notify(runner.hooks, method, complete=task_loop.complete)


@contextlib.contextmanager
def _ending_after(seconds: float) -> Iterator[None]:
    """End the process if the block takes longer: the worker that would kill it may be gone."""
    timer = threading.Timer(seconds, _end_at_once)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


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


def _pack_answer(outcome: Outcome, resident_kib: int) -> bytes:
    try:
        return frame(pickle.dumps(Answer(outcome, resident_kib)))
    except Exception as error:  # a retry's new arguments may be objects that can't be pickled
        return pack(Answer(outcome_of_error(error), resident_kib))


def _resident_kib() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        # Without /proc, take the peak instead: in KiB, on macOS in bytes (getrusage(2)).
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak // 1024 if sys.platform == "darwin" else peak
    return pages * resource.getpagesize() // 1024


def _ignore_requests_to_end() -> None:
    """Ignore the requests by handlers: unlike SIG_IGN, programs that a task executes don't inherit them."""
    for number in REQUESTS_TO_END:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _do_nothing)
    os.register_at_fork(after_in_child=_accept_requests_to_end)


def _accept_requests_to_end() -> None:
    for number in REQUESTS_TO_END:
        if signal.getsignal(number) is _do_nothing:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _do_nothing(*_args: Any) -> None:
    pass


def _die_with_parent() -> None:
    """Ask Linux to kill this process with its parent. The reading thread can't, while C code holds the interpreter.

    The parent is the thread that started this process (prctl(2)): the thread of the worker's event loop.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_at_once() -> NoReturn:
    # Under a worker this process leads a group of its own. Killing the group also ends programs the task has started.
    if os.getpgrp() == os.getpid():
        with contextlib.suppress(OSError):
            os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
