"""The process of a local AWS stack: it starts, is waited for, stops and restarts. A subclass names the program."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

from emulators.ports import free_port, is_free
from emulators.process import wait_or_kill

REGION: Final = "eu-west-1"

STOP_TIMEOUT_SECONDS = 15.0
ANSWER_TIMEOUT_SECONDS = 10.0
_POLL_INTERVAL_SECONDS = 0.05

PROGRAMS: Final = Path(__file__).with_name("programs")


def environment(endpoint_url: str) -> dict[str, str]:
    """Return environment variables that make AWS SDKs and child processes use a local endpoint and nothing else."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


class Stack(ABC):
    """A local AWS stack. As a context manager it starts on entry; on exit it ends, and its data is removed.

    Args:
        port: the port to listen on. None picks a free port, which a restart keeps.
    """

    name: ClassVar[str]
    health_path: ClassVar[str]
    start_timeout_seconds: ClassVar[float] = 60.0

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Why the stack can't be started on this machine, and how to change that; None if it can."""

    @abstractmethod
    def _command(self) -> list[str]:
        """The command of the stack: a script of ``programs``, whose standard input closes when this process ends."""

    @abstractmethod
    def _settings(self, directory: Path) -> dict[str, str]:
        """The stack's environment variables, in addition to those of this process.

        Args:
            directory: the folder for the stack's files; it is removed at the end.
        """

    @property
    def endpoint_url(self) -> str:
        """The URL at which the stack answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def process_id(self) -> int | None:
        """The id of the stack's process while it runs."""
        return self._process.pid if self._process else None

    @property
    def log_path(self) -> Path | None:
        """The file with the stack's output."""
        return self._directory / "stack.log" if self._directory else None

    def environment(self) -> dict[str, str]:
        """The environment variables that make an AWS SDK use the stack: ``environment(self.endpoint_url)``."""
        return environment(self.endpoint_url)

    def start(self) -> None:
        """Start the stack and wait until it answers. Data from before a ``stop`` is still there.

        Raises:
            RuntimeError: the stack ended or gave no answer; the message contains its last output.
        """
        reason = self.missing()
        if reason:
            raise RuntimeError(reason)
        if self._process is not None:
            raise RuntimeError(f"{self.name} is already running at {self.endpoint_url}")
        if not is_free(self.port):
            # Another stack might listen there, and its answers would look right.
            raise RuntimeError(f"{self.name} can't start: port {self.port} of 127.0.0.1 is taken")
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="taskq-local-stack-"))
        with (self._directory / "stack.log").open("ab") as log:
            # The stack has a session of its own: Ctrl-C in a terminal reaches only the worker under test, which can
            # still finish its tasks on the stack. And the functions' processes can be ended with the stack.
            self._process = subprocess.Popen(
                self._command(),
                env={**os.environ, **self.environment(), **self._settings(self._directory)},
                cwd=self._directory,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process. Its data is kept for the next ``start``, unless the process had to be killed."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        wait_or_kill(process, STOP_TIMEOUT_SECONDS)
        if process.stdin is not None:
            process.stdin.close()
        try:
            # The functions' processes are in the stack's process group, whose id is the stack's process id.
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def restart(self) -> None:
        """Stop the stack and start it again on its port, with its data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End the process and remove its data."""
        self.stop()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.start_timeout_seconds
        while not answers("127.0.0.1", self.port, self.health_path):
            code = process.poll()
            if code is not None:
                raise RuntimeError(f"{self.name} ended with code {code}: {self._last_words()}")
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"{self.name} gave no answer at {self.endpoint_url} within {self.start_timeout_seconds:g} s: "
                    f"{self._last_words()}"
                )
            time.sleep(_POLL_INTERVAL_SECONDS)

    def _last_words(self) -> str:
        path = self.log_path
        return path.read_text(errors="replace")[-2000:].strip() if path and path.exists() else "it printed nothing"


def answers(host: str, port: int, path: str) -> bool:
    """Whether a server answers a health check with 200."""
    connection = HTTPConnection(host, port, timeout=ANSWER_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        # Another stack reads the path as the name of a bucket, and answers with another status.
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
