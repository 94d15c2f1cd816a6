"""The worker's handle on the child process of a greenlet pool, which runs many tasks at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from taskq_cloud.core.model.outcome import Abandoned, Invocation, Lost, Outcome, TimedOut
from taskq_cloud.pools.channel import Answer, Begin, BrokenFrame, End, Ended, Ping, areceive, check_size, pack
from taskq_cloud.pools.child_handle import ChildHandle, TaskNotStarted
from taskq_cloud.pools.hubs import PATCHES
from taskq_cloud.pools.task_calls import outcome_of_error

logger = logging.getLogger("taskq_cloud.pools")

ASK_SECONDS: Final = 1.0
"""How often a process with tasks is asked whether its greenlets get their turns."""
HELD_SECONDS: Final = 3.0
"""A process that has not answered for so long is held up by one of its tasks; that is logged."""
KILL_SECONDS: Final = 5.0
"""A process that has not answered for so long after the hard time limit of one of its tasks is killed."""


def program_of(hub: str) -> tuple[str, ...]:
    """Return the interpreter's options that name the program of a process with greenlets.

    The standard library is patched before anything else is imported, the application and this package included.

    Args:
        hub: the library of greenlets.
    """
    return ("-c", f"{PATCHES[hub]}; from taskq_cloud.pools.greenlet_child import main; main({hub!r})")


@dataclass(slots=True, eq=False)
class _Run:
    """A task that the process has been given.

    Args:
        invocation: the invocation.
        answer: the outcome, once it is known.
        limit_at: the loop's time at which the hard time limit passes; None: it has none.
    """

    invocation: Invocation
    answer: asyncio.Future[Outcome]
    limit_at: float | None


class GreenletProcess(ChildHandle):
    """A running process with greenlets. Create one with ``start``, and call ``listen`` then."""

    def __init__(self, *connection: Any) -> None:
        super().__init__(*connection)
        self._runs: dict[int, _Run] = {}
        self._last_number = 0
        self._heard_at = asyncio.get_running_loop().time()
        self._held_since: float | None = None
        self._lost = False
        self._services: list[asyncio.Task[None]] = []

    @property
    def owes_outcome(self) -> bool:
        """Whether the process has died with tasks whose outcomes it had not told."""
        return self._lost or bool(self._runs)

    def listen(self) -> None:
        """Begin to take the answers of the process, and to see whether its greenlets take turns."""
        self._services = [asyncio.create_task(self._take_answers()), asyncio.create_task(self._look_after())]

    async def run(self, invocation: Invocation) -> Outcome:
        """Run one task. The outcome is ``Lost`` if the process dies while it runs the task.

        Cancelling this call ends the run, and returns once it has ended.

        Raises:
            TaskNotStarted: the process was dead before it took the task.
        """
        try:
            payload = pickle.dumps(invocation, protocol=pickle.HIGHEST_PROTOCOL)
            check_size(payload)
        except Exception as error:  # not every argument that came out of a pickle message can be pickled again
            return outcome_of_error(error)
        with self._numbered(invocation) as (number, answer):
            self._writer.write(pack(Begin(number, payload)))
            try:
                # The answer is not cancelled with this call: it also tells when the run has ended.
                return await asyncio.shield(answer)
            except asyncio.CancelledError:
                if not answer.done():
                    self._writer.write(pack(End(number)))
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.wait({answer}, timeout=KILL_SECONDS)
                if answer.done() and not answer.cancelled():
                    answer.exception()  # nobody else asks for it
                raise

    def abandon(self) -> None:
        """Tell the callers of all runs that these go on no longer, and kill the process if there are any."""
        if self._runs:
            self._answer_all(Abandoned())
            self.kill()
        else:
            self.retire()

    async def reap(self, grace_seconds: float = 0.0) -> None:
        """Wait until the process has ended, and free its resources. After ``grace_seconds`` the process is killed."""
        for service in self._services[1:]:
            service.cancel()
        await super().reap(grace_seconds)
        await asyncio.gather(*self._services, return_exceptions=True)

    @contextlib.contextmanager
    def _numbered(self, invocation: Invocation) -> Iterator[tuple[int, asyncio.Future[Outcome]]]:
        loop = asyncio.get_running_loop()
        if not self._runs:
            self._heard_at = loop.time()  # it was not asked while it had nothing to do
        self._last_number += 1
        number, limit = self._last_number, invocation.time_limit
        run = _Run(invocation, loop.create_future(), None if limit is None else loop.time() + limit)
        self._runs[number] = run
        self._no_run.clear()
        try:
            yield number, run.answer
        finally:
            self._runs.pop(number, None)
            if not self._runs:
                self._no_run.set()

    async def _take_answers(self) -> None:
        try:
            while True:
                value = await areceive(self._reader)
                self._heard_at, self._held_since = asyncio.get_running_loop().time(), None
                if isinstance(value, Ended):  # otherwise it is a ping that comes back
                    self._take_answer(value)
        except BrokenFrame as error:
            self.kill()
            self._lose(f"{error} on the channel of process {self.pid}")
        except EOFError:
            self.leaving.set()
            self._lose(await self._cause_of_death())

    def _take_answer(self, ended: Ended) -> None:
        run = self._runs.get(ended.number)
        if run is None or run.answer.done():
            return
        try:
            answer: Answer = pickle.loads(ended.answer)
            outcome = answer.outcome
        except Exception as error:  # a class may do anything when it is unpickled
            outcome = outcome_of_error(error)
        run.answer.set_result(outcome)
        if ended.left:
            _log(
                run.invocation,
                "pool.greenlet_abandoned",
                "was told to end, but its greenlet goes on; its outcome will be dropped. Let the task re-raise "
                "TimeLimitExceeded. The processes pool can end any task: use --pool processes",
            )

    def _lose(self, cause: str) -> None:
        """Give an outcome to the runs that the process has not answered for."""
        for number, run in self._runs.items():
            if run.answer.done():
                continue
            if number > self.tasks_started:
                run.answer.set_exception(TaskNotStarted())
            else:
                self._lost = True
                run.answer.set_result(Lost(cause))

    def _answer_all(self, outcome: Outcome) -> None:
        for run in self._runs.values():
            if not run.answer.done():
                run.answer.set_result(outcome)

    async def _look_after(self) -> None:
        """Ask the process, while it has tasks, whether its greenlets take turns. Log it, or kill it, if they don't."""
        loop = asyncio.get_running_loop()
        while not self.leaving.is_set():
            await asyncio.sleep(ASK_SECONDS)
            silent = loop.time() - self._heard_at
            if not self._runs or silent < ASK_SECONDS:
                continue
            self._writer.write(pack(Ping()))
            if silent >= HELD_SECONDS and self._held_since is None:
                self._held_since = self._heard_at
                self._log_held(silent)
            if silent >= KILL_SECONDS and self._overdue(loop.time() - KILL_SECONDS):
                self._kill_held(loop.time())

    def _overdue(self, at: float) -> list[_Run]:
        """Return the runs whose hard time limit has passed at a time of the loop."""
        return [run for run in self._runs.values() if run.limit_at is not None and run.limit_at <= at]

    def _log_held(self, seconds: float) -> None:
        holder = self._runs.get(self._taken.holder)
        if holder is None:
            logger.warning(
                "process %d, with %d tasks in greenlets, has not answered for %.0f s: one of them calls code that does "
                "not let the others run",
                self.pid,
                len(self._runs),
                seconds,
                extra={"action": "pool.greenlets_held", "pid": self.pid},
            )
            return
        _log(
            holder.invocation,
            "pool.greenlets_held",
            f"holds up the {len(self._runs) - 1} other tasks of process {self.pid}, for {seconds:.0f} s now: it "
            "calculates, or calls code that does not let other greenlets run. Run it on the processes pool",
        )

    def _kill_held(self, now: float) -> None:
        """Kill the process, which does not answer although the hard time limit of a task has passed."""
        holder = self._runs.get(self._taken.holder)
        overdue = self._overdue(now)
        logger.error(
            "process %d is killed: it has not answered for %.0f s, and the time limits of %d of its %d tasks have "
            "passed; the others are given back",
            self.pid,
            now - self._heard_at,
            len(overdue),
            len(self._runs),
            extra={"action": "pool.greenlets_killed", "pid": self.pid},
        )
        for run in self._runs.values():
            if run in overdue and run.invocation.time_limit is not None:
                outcome: Outcome = TimedOut(run.invocation.time_limit)
            elif run is holder:
                outcome = Lost("it held up all other greenlets, and its process was killed")
            else:
                outcome = Abandoned("another task held up its process, which was killed")
            if not run.answer.done():
                run.answer.set_result(outcome)
        self._lost = True
        self.kill()


def _log(invocation: Invocation, action: str, text: str) -> None:
    message = invocation.message
    extra = {"action": action, "queue": invocation.queue, "task_id": message.id}
    logger.warning("task %s (%s) %s", message.task, message.id, text, extra=extra)
