"""The process of an emulator: it starts, is waited for, and is ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import IO, Self

from emulators.ports import free_port

START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 15.0
_POLL_INTERVAL_SECONDS = 0.05

# Runs a command until the command ends, or until the parent process ends, which closes standard input.
_UNTIL_THE_PARENT_ENDS = """
import subprocess, sys, threading

command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

def end():
    sys.stdin.read()
    command.terminate()
    try:
        command.wait(10)
    except subprocess.TimeoutExpired:
        command.kill()

threading.Thread(target=end, daemon=True).start()
sys.exit(command.wait())
"""


class Emulator:
    """A server in a process of its own. As a context manager it answers from entry to exit.

    Args:
        name: the emulator's name in error messages.
        command: returns the command that starts the emulator on a port.
        url: the emulator's URL, with ``{port}``.
        ready: tells whether the emulator at a port serves, if it refuses connections for a while after it has begun to
            accept them; None: it doesn't.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[int], Sequence[str]],
        url: str = "http://127.0.0.1:{port}",
        ready: Callable[[int], bool] | None = None,
    ) -> None:
        self._name = name
        self._command = command
        self._url = url
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """The URL at which the emulator answers."""
        return self._url.format(port=self.port)

    def launch(self) -> None:
        """Start the process without waiting until the emulator answers."""
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop
        self._process = subprocess.Popen(
            [sys.executable, "-c", _UNTIL_THE_PARENT_ENDS, *self._command(self.port)],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            # Ctrl-C in a terminal reaches only the tests, which end the emulator when they no longer need it.
            start_new_session=True,
        )

    def stop(self) -> None:
        """End the process; its data is lost."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            wait_or_kill(process, STOP_TIMEOUT_SECONDS)
        if self._output is not None:
            self._output.close()
            self._output = None

    def kill(self) -> None:
        """End the process and the processes it has started with SIGKILL, as a crash of the machine would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self.stop()
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while _accepts(("127.0.0.1", self.port)) and time.monotonic() < deadline:  # a large process takes time to go
            time.sleep(_POLL_INTERVAL_SECONDS)

    def start(self) -> None:
        """Start the process, and wait until the emulator answers."""
        self.launch()
        try:
            wait_until_it_answers(f"http://127.0.0.1:{self.port}", self._name, self._ended)
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while self._ready is not None and not self._ready(self.port):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self._name} did not serve within {START_TIMEOUT_SECONDS:g} s")
            time.sleep(_POLL_INTERVAL_SECONDS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _ended(self) -> str | None:
        if self._process is None or self._process.poll() is None or self._output is None:
            return None
        self._output.seek(0)
        return self._output.read()[-2000:].decode(errors="replace").strip() or "it printed nothing"


def wait_or_kill(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Wait for a process that was told to end, kill it if it is too slow, and return its exit code."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _accepts(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0


def wait_until_it_answers(url: str, name: str, ended: Callable[[], str | None] = lambda: None) -> None:
    """Wait until a server accepts connections at a URL.

    Args:
        url: the URL.
        name: the server's name in error messages.
        ended: returns the server's last output once its process has ended, and None before.

    Raises:
        RuntimeError: the server has ended, or did not answer in time.
    """
    host, _, port = url.rpartition("/")[2].partition(":")
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        if _accepts((host, int(port))):
            return
        last_words = ended()
        if last_words is not None:
            raise RuntimeError(f"{name} has ended: {last_words}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{name} gave no answer at {url} within {START_TIMEOUT_SECONDS:g} s")
        time.sleep(_POLL_INTERVAL_SECONDS)
