"""The worker's handle on one process of the processes pool: start it, give it a task, kill it, bury it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from typing import TypeVar

from taskq_cloud.core.model.outcome import Invocation, Lost, Outcome
from taskq_cloud.pools.channel import Answer, Begun, BrokenFrame, LoadFailed, Ready, Setup, areceive, pack
from taskq_cloud.pools.task_calls import escaped

F = TypeVar("F")

# How long a dead process's last frame may take from the socket to us, and a process that closed its channel to die.
DRAIN_SECONDS = 1.0


class CanNotLoad(Exception):
    """A process could not import the application, or died of it; the text says how."""


class NotBegun(Exception):
    """The process died before it had taken the task: another one may run it."""


class ChildProcess:
    """A running process of the pool. Make one with ``start``.

    Attributes:
        begun: how many tasks it has taken.
        resident_kib: its resident set after its last task, in KiB.
        leaving: set when it gets no further task: it is dead, killed, or retired.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.begun = 0
        self.resident_kib = 0
        self.leaving = asyncio.Event()
        self._process = process
        self._reader = reader
        self._writer = writer
        self._exit = asyncio.create_task(process.wait())
        self._exit.add_done_callback(self._on_exit)
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @classmethod
    async def start(cls, runner_factory: str, app_path: str) -> ChildProcess:
        """Start a process and wait until it has imported the application.

        Args:
            runner_factory: ``module:callable``, which makes the runner from ``app_path``.
            app_path: where the application is, ``module:attribute``.

        Raises:
            CanNotLoad: it can't run tasks.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            # Before there is a process, so that nothing is awaited between its start and the care for its end.
            reader, writer = await asyncio.open_connection(sock=ours)
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-m", "taskq_cloud.pools.child", "--channel", str(theirs.fileno())),
                    *("--runner", runner_factory, app_path),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    # A group of its own: it is killed with what a task of it has started, and no terminal signals it.
                    start_new_session=True,
                )
            except BaseException:
                writer.close()
                raise
        child = cls(process, reader, writer)
        try:
            await child._shake_hands()
        except BaseException:
            child.kill()
            await child.reap()
            raise
        return child

    async def run(self, invocation: Invocation) -> Outcome:
        """Run one task; ``Lost`` when the process dies of it.

        Raises:
            NotBegun: the process was dead already.
        """
        try:
            request = pack(invocation)
        except Exception as error:  # an argument out of a pickle message need not go back into one
            return escaped(error)
        self._quiet.clear()
        try:
            return await self._converse(request)
        finally:
            self._quiet.set()

    async def _converse(self, request: bytes) -> Outcome:
        try:
            await self._send(request)
            await self._expect(Begun)
        except (EOFError, BrokenFrame) as error:
            self.kill()
            raise NotBegun from error
        self.begun += 1
        try:
            answer = await self._expect(Answer)
        except EOFError:
            return Lost(await self._cause_of_death())
        except BrokenFrame as error:
            self.kill()
            return Lost(f"{error} on the channel of process {self.pid}")
        self.resident_kib = answer.resident_kib
        return answer.outcome

    def kill(self) -> None:
        """Kill the process and what its task has started."""
        self.leaving.set()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def retire(self) -> None:
        """Let the process end; it must not have a task."""
        self.leaving.set()
        self._writer.close()

    async def reap(self, grace_seconds: float = 0.0) -> None:
        """Wait until the process has ended, kill it where it does not, and free what it held."""
        await asyncio.wait({self._exit}, timeout=grace_seconds)
        if not self._exit.done():
            self.kill()
        await asyncio.shield(self._exit)
        # What it said last may still be in the socket.
        await self._quiet.wait()
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _shake_hands(self) -> None:
        try:
            await self._send(pack(Setup(list(sys.path))))
            first = await self._expect(Ready, LoadFailed)
        except EOFError as error:
            raise CanNotLoad(f"the process died while it imported it: {await self._cause_of_death()}") from error
        except BrokenFrame as error:
            raise CanNotLoad(str(error)) from error
        if isinstance(first, LoadFailed):
            raise CanNotLoad(first.text)

    async def _send(self, data: bytes) -> None:
        self._writer.write(data)
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise EOFError from error

    async def _expect(self, *kinds: type[F]) -> F:
        value = await areceive(self._reader)
        if not isinstance(value, kinds):
            raise BrokenFrame(f"unexpected {type(value).__name__}")
        return value

    async def _cause_of_death(self) -> str:
        await asyncio.wait({self._exit}, timeout=DRAIN_SECONDS)
        if not self._exit.done():
            self.kill()
            return f"process {self.pid} closed its channel"
        code = self._exit.result()
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:  # the real-time signals have no names but the first and the last
            return f"killed by signal {-code}"

    def _on_exit(self, _: asyncio.Task[int]) -> None:
        self.leaving.set()
        # The channel ends by itself, unless a process that the task has forked holds it open.
        transport = self._writer.transport
        asyncio.get_running_loop().call_later(DRAIN_SECONDS, transport.abort)
