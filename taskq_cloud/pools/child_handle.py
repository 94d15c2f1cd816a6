"""The worker's handle on a child process of a pool: start it, talk to it, kill it, wait for its end.

How the process is given tasks is said in ``child_process``, for one task at a time, and ``greenlet_process``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Final, Self, TypeVar

from taskq_cloud.pools.channel import BrokenFrame, LoadFailed, Ready, Setup, TakenTasks, areceive, pack

F = TypeVar("F")

DRAIN_SECONDS: Final = 1.0
"""How long to wait for the last frame of a process that died, and for the death of one that closed its channel."""

_KILLED: Final = tuple(
    -getattr(signal, name) for name in ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)
)
"""The exit codes of a process that somebody else has ended: a person, or the kernel because memory is short."""


class LoadError(Exception):
    """A process could not import the application, or died while importing it. The text gives the reason."""


class DiedWhileLoading(LoadError):
    """A process was killed by a signal while it imported the application, perhaps by chance."""


class TaskNotStarted(Exception):
    """The process died before it took the task, so another process can run the task."""


class ChildHandle:
    """A running process of a pool. Create one with ``start``.

    Attributes:
        leaving: set once the process gets no further task, because it is dead, killed or retired.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        taken: TakenTasks,
    ) -> None:
        self.leaving = asyncio.Event()
        self._process = process
        self._reader = reader
        self._writer = writer
        self._taken = taken
        self._exit = asyncio.create_task(process.wait())
        self._exit.add_done_callback(self._on_exit)
        self._no_run = asyncio.Event()
        self._no_run.set()

    @property
    def tasks_started(self) -> int:
        """How many tasks the process has taken."""
        return self._taken.count

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def owes_outcome(self) -> bool:
        """Whether the process has taken a task whose outcome it has not told, or that is to run elsewhere again."""
        raise NotImplementedError

    @classmethod
    async def start(
        cls, runner_factory: str, app_path: str, *, program: Sequence[str], measures_memory: bool = False
    ) -> Self:
        """Start a process and wait until it has imported the application.

        Args:
            runner_factory: ``module:callable``; the callable returns the runner for ``app_path``.
            app_path: where the application is, ``module:attribute``.
            program: the interpreter's options that name what the process runs.
            measures_memory: whether the process tells its memory after each task.

        Raises:
            LoadError: the process can't import the application.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            # Open the connection first. Then nothing is awaited between the process's start and the care for its end.
            reader, writer = await asyncio.open_connection(sock=ours)
            taken: TakenTasks | None = None
            try:
                taken = TakenTasks()
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *program,
                    *("--channel", str(theirs.fileno())),
                    *("--taken", str(taken.fileno())),
                    *("--runner", runner_factory, app_path),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[theirs.fileno(), taken.fileno()],
                    # The process leads its own group: programs that its task starts are killed with it, and signals
                    # from a terminal don't reach it.
                    start_new_session=True,
                )
            except BaseException:
                writer.close()
                if taken is not None:
                    taken.close()
                raise
        child = cls(process, reader, writer, taken)
        try:
            await child._shake_hands(measures_memory)
        except BaseException:
            child.kill()
            await child.reap()
            raise
        return child

    def kill(self) -> None:
        """Kill the process, and the programs that its task has started."""
        self.leaving.set()
        if self._process.returncode is None:
            self._kill_group()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def retire(self) -> None:
        """Let the process end by itself. It must not be running a task."""
        self.leaving.set()
        self._writer.close()

    async def reap(self, grace_seconds: float = 0.0) -> None:
        """Wait until the process has ended, and free its resources. After ``grace_seconds`` the process is killed."""
        await asyncio.wait({self._exit}, timeout=grace_seconds)
        if not self._exit.done():
            self.kill()
        await asyncio.shield(self._exit)
        # The process's last frame may still be in the socket.
        await self._no_run.wait()
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        self._taken.close()

    async def _shake_hands(self, measures_memory: bool) -> None:
        try:
            await self._send(pack(Setup(list(sys.path), measures_memory)))
            first = await self._expect(Ready, LoadFailed)
        except EOFError as error:
            cause = await self._cause_of_death()
            kind = DiedWhileLoading if self._process.returncode in _KILLED else LoadError
            raise kind(f"the process died while it imported the application: {cause}") from error
        except BrokenFrame as error:
            raise LoadError(str(error)) from error
        if isinstance(first, LoadFailed):
            raise LoadError(first.text)

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
        except ValueError:  # of the real-time signals, only the first and the last have names
            return f"killed by signal {-code}"

    def _on_exit(self, exit_: asyncio.Task[int]) -> None:
        self.leaving.set()
        if not exit_.cancelled() and (exit_.result() != 0 or self.owes_outcome):
            # Its task is run again elsewhere. The kernel gives the group's id to nobody else while it has members.
            self._kill_group()
        # The channel ends by itself, unless a process that the task has forked holds it open.
        transport = self._writer.transport
        asyncio.get_running_loop().call_later(DRAIN_SECONDS, transport.abort)
