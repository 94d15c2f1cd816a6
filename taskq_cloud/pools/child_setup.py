"""What the programs of child processes have in common: their arguments, their signals, and their end.

A child's standard output and error are the worker's. Terminals and supervisors send signals to whole groups of
processes, but only the worker decides whether a task is to end. So a child ignores the signals that ask it to end.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Final, NoReturn

from taskq_cloud.core.model.outcome import Outcome
from taskq_cloud.pools.base import Runner
from taskq_cloud.pools.channel import Answer, Frames, Setup, TakenTasks, check_size
from taskq_cloud.pools.task_calls import outcome_of_error

REQUESTS_TO_END: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

PR_SET_PDEATHSIG: Final = 1
"""prctl(2)"""

STOPPING_SECONDS: Final = 5.0
"""How long the hooks of a process that ends may take. A worker that is alive kills the process before that."""


def options_of_program() -> argparse.Namespace:
    """Return the arguments with which the worker has started this process."""
    parser = argparse.ArgumentParser(description="Run tasks for a worker. A pool of the worker starts this.")
    parser.add_argument("--channel", type=int, required=True, help="the file descriptor of the socket to the worker")
    parser.add_argument("--taken", type=int, required=True, help="the file descriptor of the count of taken tasks")
    parser.add_argument("--runner", required=True, help="module:callable that returns the runner")
    parser.add_argument("argument", help="the callable's argument: the path of the application")
    return parser.parse_args()


def set_up_process(options: argparse.Namespace) -> tuple[socket.socket, TakenTasks]:
    """Prepare this process for its tasks, and return its end of the channel and its count of taken tasks."""
    faulthandler.enable()
    _ignore_requests_to_end()
    _die_with_parent()
    channel = socket.socket(fileno=options.channel)
    # A task's own subprocesses must not inherit it: the channel has to end when this process does.
    channel.set_inheritable(False)
    taken = TakenTasks(os.dup(options.taken))  # file descriptors are not inheritable unless they are told to be
    os.close(options.taken)
    return channel, taken


def receive_setup(frames: Frames) -> Setup | None:
    """Wait for the worker's first frame, and look for modules where the worker does; None: the worker is gone."""
    payload = frames.receive()
    if payload is None:
        return None
    setup: Setup = pickle.loads(payload)
    sys.path[:] = setup.search_path
    return setup


def notify_hooks(runner: Runner, method: str, complete: Callable[[Any], Any]) -> None:
    """Call the hooks of the application about this process.

    Args:
        runner: has the hooks.
        method: ``process_started`` or ``process_stopping``; a process that stops ends if its hooks take too long.
        complete: runs what coroutine functions have returned.
    """
    if not runner.hooks:
        return
    from taskq_cloud.core.model.hook_calls import notify  # few applications have hooks

    with ending_after(STOPPING_SECONDS) if method == "process_stopping" else contextlib.nullcontext():
        notify(runner.hooks, method, complete=complete)


def make_runner(factory: str, argument: str) -> Runner:
    """Return the runner that a callable makes.

    Args:
        factory: ``module:callable``.
        argument: the callable's argument.
    """
    module, _, name = factory.partition(":")
    runner: Runner = getattr(import_module(module), name)(argument)
    return runner


@contextlib.contextmanager
def ending_after(seconds: float) -> Iterator[None]:
    """End the process if the block takes longer: the worker that would kill it may be gone."""
    timer = threading.Timer(seconds, end_at_once)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def pickled_answer(outcome: Outcome, resident_kib: int = 0) -> bytes:
    """Return the pickle of an ``Answer``. An outcome that can't be pickled, or is too large, becomes a failure."""
    try:
        payload = pickle.dumps(Answer(outcome, resident_kib))
        check_size(payload)
    except Exception as error:  # a retry's new arguments may be objects that can't be pickled
        return pickle.dumps(Answer(outcome_of_error(error), resident_kib))
    return payload


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


def end_at_once() -> NoReturn:
    """Kill this process, and the programs that its tasks have started."""
    # Under a worker this process leads a group of its own. Killing the group also ends programs the task has started.
    if os.getpgrp() == os.getpid():
        with contextlib.suppress(OSError):
            os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)
