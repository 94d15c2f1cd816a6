"""The program of the child process in which the tasks of a greenlet pool run: ``main``. ``greenlet_process`` starts it.

The process runs many tasks at a time: each plain function in a greenlet of its own, and all coroutine functions on one
event loop, which is a greenlet itself (``greenlet_loop``). A time limit is an exception that is raised in a greenlet
while it waits. For a greenlet that does not wait there is another way, and a thread that looks after it
(``greenlet_watch``).
"""

from __future__ import annotations

import contextlib
import pickle
import socket
import time
import traceback
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from taskq_cloud.core.execution.run_context import ended_runs
from taskq_cloud.core.model.outcome import Abandoned, Invocation, Outcome, TimedOut
from taskq_cloud.errors import SoftTimeLimitExceeded, TimeLimitExceeded
from taskq_cloud.pools.base import GRACE_SECONDS, Runner
from taskq_cloud.pools.channel import Begin, End, Ended, Frames, LoadFailed, Ping, Ready, TakenTasks, pack
from taskq_cloud.pools.child_setup import (
    make_runner,
    notify_hooks,
    options_of_program,
    pickled_answer,
    receive_setup,
    set_up_process,
)
from taskq_cloud.pools.greenlet_loop import CoroutineLoop, let_loops_share_thread
from taskq_cloud.pools.greenlet_watch import Watch
from taskq_cloud.pools.hubs import Hub, Timer, make_hub
from taskq_cloud.pools.own_code import Alarms
from taskq_cloud.pools.task_calls import call, outcome_of_error


def main(hub: str) -> None:
    """Run tasks until the channel ends.

    Args:
        hub: the name of the library of greenlets.
    """
    options = options_of_program()
    let_loops_share_thread()
    channel, taken = set_up_process(options)
    with contextlib.suppress(ConnectionError):  # the worker has died, or has closed the channel
        _WorkerConnection(make_hub(hub), channel, taken).serve(options.runner, options.argument)
    # Shut it down right away: threads that a task has left behind may keep the interpreter from ending.
    with contextlib.suppress(OSError):
        channel.shutdown(socket.SHUT_RDWR)


@dataclass(slots=True, eq=False)
class _Run:
    """The run of a plain function.

    Args:
        number: the number of the task.
        invocation: the invocation.
        greenlet: where it runs; None: it has not begun.
        timers: those of its time limits.
        limits_at: the times at which limits pass that were not raised yet, on the monotonic clock.
        ended: the function has ended.
        ends_with: the outcome of a run that was told to end; None: the outcome that the function comes to.
    """

    number: int
    invocation: Invocation
    greenlet: Any = None
    timers: list[Timer] = field(default_factory=list)
    limits_at: dict[type[Exception], float] = field(default_factory=dict)
    ended: bool = False
    ends_with: Outcome | None = None

    def end(self, outcome: Outcome) -> None:
        """Note that the run was told to end. The outcome counts unless only hooks still run after the function."""
        self.ends_with = ended_runs.get(id(self.invocation)) or outcome
        self.limits_at.clear()


class _WorkerConnection:
    """The process's end of the channel: takes tasks from the worker, runs them side by side, and answers."""

    def __init__(self, hub: Hub, channel: socket.socket, taken: TakenTasks) -> None:
        self._hub = hub
        self._channel = channel
        self._taken = taken
        self._frames = Frames(channel)
        self._outgoing: list[bytes] = []
        self._runs: dict[int, _Run] = {}
        self._by_greenlet: dict[Any, _Run] = {}
        self._alarms = Alarms()
        self._watch = Watch(hub, channel, taken, self._on_alarm)

    def serve(self, factory: str, argument: str) -> None:
        if receive_setup(self._frames) is None:
            return
        try:
            runner = make_runner(factory, argument)
            loop = CoroutineLoop(self._hub, runner)
            notify_hooks(runner, "process_started", loop.complete)
        except BaseException:  # an application may even call sys.exit
            self._watch.busy = 0
            self._channel.sendall(pack(LoadFailed(traceback.format_exc())))
            return
        self._watch.take_alarms()
        self._watch.busy = 0
        self._channel.sendall(pack(Ready()))
        self._take_tasks(runner, loop)
        notify_hooks(runner, "process_stopping", loop.complete)
        loop.close()

    # -- frames

    def _take_tasks(self, runner: Runner, loop: CoroutineLoop) -> None:
        while (payload := self._frames.receive()) is not None:
            frame = pickle.loads(payload)
            match frame:
                case Begin():
                    self._watch.begin(frame.number)
                    self._taken.take()
                    self._begin(runner, loop, frame)
                case End():
                    run = self._runs.get(frame.number)
                    if run is None:
                        loop.cancel(frame.number)
                    else:
                        self._hub.call_later(0, self._end, run, Abandoned())
                case Ping():
                    self._send(pack(frame))

    def _send(self, data: bytes) -> None:
        """Send a frame. All frames of one turn of the hub go out together."""
        self._outgoing.append(data)
        if len(self._outgoing) == 1:
            self._hub.spawn(self._flush)

    def _flush(self) -> None:
        with contextlib.suppress(OSError):  # the worker is gone, and this process ends as well
            while self._outgoing:
                sending = len(self._outgoing)
                self._channel.sendall(b"".join(self._outgoing))
                # Only now: a frame that comes during the call must not start another greenlet beside this one.
                del self._outgoing[:sending]

    def _answer(self, number: int, outcome: Outcome, *, left: bool = False) -> None:
        self._watch.busy -= 1
        self._send(pack(Ended(number, pickled_answer(outcome), left)))

    # -- runs

    def _begin(self, runner: Runner, loop: CoroutineLoop, begin: Begin) -> None:
        try:
            invocation: Invocation = pickle.loads(begin.invocation)
            is_async = runner.is_async(invocation.message.task)
        except BaseException as error:  # every run has an outcome
            self._answer(begin.number, outcome_of_error(error))
            return
        self._watch.numbers[id(invocation)] = begin.number
        if is_async:
            loop.begin(begin.number, invocation, self._coroutine_ended)
        else:
            run = self._runs[begin.number] = _Run(begin.number, invocation)
            self._hub.spawn(self._run, runner, run)

    def _coroutine_ended(self, number: int, invocation: Invocation, outcome: Outcome) -> None:
        del self._watch.numbers[id(invocation)]
        self._answer(number, outcome)

    def _run(self, runner: Runner, run: _Run) -> None:
        invocation = run.invocation
        run.greenlet = self._hub.current()
        self._by_greenlet[run.greenlet] = run
        outcome: Outcome | None = run.ends_with  # it was told to end before it began
        try:
            try:
                if outcome is None:
                    self._set_limits(run)
                    outcome = call(runner, invocation)
            finally:
                run.ended = True
                self._alarms.forget()
        except BaseException as error:  # every run has an outcome
            # With an outcome, a signal has raised a limit after the function had ended.
            outcome = outcome or outcome_of_error(error)
        for timer in run.timers:
            timer.cancel()
        del self._by_greenlet[run.greenlet], self._watch.numbers[id(invocation)]
        if self._runs.pop(run.number, None) is not None:  # otherwise the worker knows that the run does not end
            self._answer(run.number, run.ends_with or outcome)

    # -- time limits

    def _set_limits(self, run: _Run) -> None:
        now = time.monotonic()
        hard, soft = run.invocation.time_limit, run.invocation.soft_time_limit
        if hard is not None:
            run.limits_at[TimeLimitExceeded] = now + hard
            run.timers.append(self._hub.call_later(hard, self._end, run, TimedOut(hard)))
        if soft is not None:
            run.limits_at[SoftTimeLimitExceeded] = now + soft
            run.timers.append(self._hub.call_later(soft, self._raise_soft_limit, run))

    def _raise_soft_limit(self, run: _Run) -> None:
        if not run.ended and run.limits_at.pop(SoftTimeLimitExceeded, None) is not None:
            run.greenlet.throw(SoftTimeLimitExceeded())

    def _end(self, run: _Run, outcome: Outcome) -> None:
        """End a run. The hub calls this, so the run waits."""
        if run.ended or run.ends_with is not None:
            return
        run.end(outcome)
        if run.greenlet is not None:
            run.timers.append(self._hub.call_later(GRACE_SECONDS, self._leave, run))
            run.greenlet.throw(TimeLimitExceeded())

    def _leave(self, run: _Run) -> None:
        """Answer for a run that goes on although it was told to end."""
        if run.ends_with is not None and self._runs.pop(run.number, None) is not None:
            self._answer(run.number, run.ends_with, left=True)

    def _on_alarm(self, _signal_number: int, frame: FrameType | None) -> None:
        """Raise a limit in the greenlet whose turn it is: the hub can't, as that greenlet does not wait."""
        run = self._by_greenlet.get(self._hub.current())
        if run is None or run.ended:
            return
        now = time.monotonic()
        passed = [limit for limit, at in run.limits_at.items() if now >= at]
        if passed and self._alarms.can_raise(frame):
            limit = passed[0]
            del run.limits_at[limit]
            if limit is TimeLimitExceeded and run.invocation.time_limit is not None:
                run.end(TimedOut(run.invocation.time_limit))
                run.timers.append(self._hub.call_later(GRACE_SECONDS, self._leave, run))
            raise limit
