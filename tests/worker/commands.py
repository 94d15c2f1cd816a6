"""A command of `taskq` that runs in a process of its own, for tests of what ends it and of what it leaves behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from taskq_cloud.testing.waiting import until

TIMEOUT_SECONDS = 25


class Command:
    """A running command, and its log. The end of a ``with`` block kills it.

    Args:
        folder: the working directory.
        arguments: the arguments of `taskq`.
        launcher: a command line that executes the command, such as ``nohup``.
        environment: the environment; None: that of the tests.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        launcher: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._path = folder / f"{time.monotonic_ns()}.log"
        with self._path.open("wb") as log:
            self.process = subprocess.Popen(
                [*launcher, sys.executable, "-m", "taskq_cloud", *arguments],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        """Everything that the command has written up to now."""
        return self._path.read_text()

    def says(self, text: str) -> bool:
        return text in self.log

    def ready(self) -> Self:
        """Wait until the command is at work."""
        until(lambda: self.says("ready: ") or self.process.poll() is not None, "the command to be ready")
        assert self.process.poll() is None, self.log
        return self

    def code(self, seconds: float = TIMEOUT_SECONDS) -> int:
        """Wait for the end, and return the exit code."""
        return self.process.wait(seconds)

    def end(self) -> int:
        """Stop the command as a platform does, and return its exit code."""
        with self:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            return self.code()
