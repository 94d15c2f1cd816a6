"""The worker's handle on one process of the processes pool, which runs one task at a time."""

from __future__ import annotations

import asyncio
from typing import Final

from taskq_cloud.core.model.outcome import Invocation, Lost, Outcome
from taskq_cloud.pools.channel import Answer, BrokenFrame, TakenTasks, pack
from taskq_cloud.pools.child_handle import ChildHandle, TaskNotStarted
from taskq_cloud.pools.task_calls import outcome_of_error

PROGRAM: Final = ("-m", "taskq_cloud.pools.child")


class ChildProcess(ChildHandle):
    """A running process of the processes pool.

    Attributes:
        resident_kib: the process's resident set after its last task, in KiB.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        taken: TakenTasks,
    ) -> None:
        super().__init__(process, reader, writer, taken)
        self.resident_kib = 0
        self._lost_task = False
        self._answered = 0

    @property
    def owes_outcome(self) -> bool:
        """Whether the process has taken a task whose outcome it has not told, or that is to run elsewhere again."""
        return self._lost_task or self.tasks_started > self._answered

    async def run(self, invocation: Invocation) -> Outcome:
        """Run one task. The outcome is ``Lost`` if the process dies while it runs the task.

        Raises:
            TaskNotStarted: the process was dead before it took the task.
        """
        try:
            request = pack(invocation)
        except Exception as error:  # not every argument that came out of a pickle message can be pickled again
            return outcome_of_error(error)
        self._no_run.clear()
        try:
            return await self._request_outcome(request)
        finally:
            self._no_run.set()

    async def _request_outcome(self, request: bytes) -> Outcome:
        try:
            await self._send(request)
            answer = await self._expect(Answer)
        except (EOFError, BrokenFrame) as error:
            return await self._lose(error)
        self._answered += 1
        self.resident_kib = answer.resident_kib
        self._lost_task = isinstance(answer.outcome, Lost)
        return answer.outcome

    async def _lose(self, error: EOFError | BrokenFrame) -> Outcome:
        """Return the outcome of a task that the process had taken when its channel failed."""
        if isinstance(error, BrokenFrame):
            cause = f"{error} on the channel of process {self.pid}"
            self.kill()
        else:
            cause = await self._cause_of_death()
        if self.tasks_started == self._answered:
            self.kill()
            raise TaskNotStarted from error
        return Lost(cause)
