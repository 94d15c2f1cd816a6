"""A process that outlives a killed worker for a moment, and kills what the tasks of its children have started.

A child of the processes pool leads a process group, to which the programs belong that its task starts. The kernel kills
the child with its worker (``child``), but not the other members of the group. So the worker tells this process which
groups there are. When the worker is gone, for whatever reason, its end of the pipe is closed, and the groups that are
left are killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Final

AGAIN_SECONDS: Final = 1.0
"""How long to wait before a guard that somebody has killed is replaced."""

_PROGRAM = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""


class Guard:
    """The worker's handle on the process."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process, and replace it if somebody kills it."""
        self._process = await self._start_process()
        self._keeper = asyncio.create_task(self._keep_alive())

    async def _start_process(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            # Isolated and without site-packages: it starts in milliseconds and imports nothing else.
            *(sys.executable, "-I", "-S", "-c", _PROGRAM),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # signals to the worker's process group must not end it
        )

    async def _keep_alive(self) -> None:
        while self._process is not None:
            await self._process.wait()
            await asyncio.sleep(AGAIN_SECONDS)
            with contextlib.suppress(OSError):  # for want of processes or memory: try again
                self._process = await self._start_process()
                for group in self._groups:
                    self._tell(f"+{group}\n")

    def add(self, group: int) -> None:
        """Have a process group killed if the worker dies."""
        self._groups.add(group)
        self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        """Forget a process group, whose leader has ended."""
        self._groups.discard(group)
        self._tell(f"-{group}\n")

    async def stop(self) -> None:
        """End the process. Groups that were not removed are killed."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            await process.wait()

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, RuntimeError):  # somebody has killed the guard
                self._process.stdin.write(line.encode())
