"""A local AWS stack's process: started, waited for, stopped and started again. Which program it is, its class says."""

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

REGION: Final = "eu-west-1"

STOP_TIMEOUT_SECONDS = 15.0
ANSWER_TIMEOUT_SECONDS = 10.0
_POLL_INTERVAL_SECONDS = 0.05

PROGRAMS: Final = Path(__file__).with_name("programs")


def environment(endpoint_url: str) -> dict[str, str]:
    """The environment variables with which an AWS SDK or a child process finds a local endpoint, and nothing else."""
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
    """One local AWS stack. A context manager: started on entry, ended with all it stored on exit.

    Args:
        port: the port to listen on; None picks a free one, which a restart keeps.
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
        """Why it can't be started here, with the way out; or None."""

    @abstractmethod
    def _command(self) -> list[str]:
        """What is run: a script of ``programs``, whose standard input ends when this process does."""

    @abstractmethod
    def _settings(self, directory: Path) -> dict[str, str]:
        """Its environment variables, beside this process's.

        Args:
            directory: where it may keep files; it is removed at the end.
        """

    @property
    def endpoint_url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def process_id(self) -> int | None:
        """The process's id while it runs."""
        return self._process.pid if self._process else None

    @property
    def log_path(self) -> Path | None:
        """The file its output goes to."""
        return self._directory / "stack.log" if self._directory else None

    def environment(self) -> dict[str, str]:
        """What an AWS SDK needs to find it: ``environment(self.endpoint_url)``."""
        return environment(self.endpoint_url)

    def start(self) -> None:
        """Start it and wait until it answers. What it had stored before ``stop`` is there again.

        Raises:
            RuntimeError: it ended or gave no answer; says what it printed.
        """
        reason = self.missing()
        if reason:
            raise RuntimeError(reason)
        if self._process is not None:
            raise RuntimeError(f"{self.name} is already running at {self.endpoint_url}")
        if not is_free(self.port):
            # Whoever has the port might even answer like the stack.
            raise RuntimeError(f"{self.name} can't start: port {self.port} of 127.0.0.1 is taken")
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="taskq-local-stack-"))
        with (self._directory / "stack.log").open("ab") as log:
            # A session of its own: Ctrl-C in a terminal reaches the worker under test, which drains against a stack
            # that is still there; and the functions' processes can be ended with it.
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
        """End it; what it stored is kept for the next ``start``, as far as it ends by itself."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
        try:
            # The functions' processes are in its session's group, whose number is its process id.
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def restart(self) -> None:
        """Stop it and start it again on the same port, with what it had stored."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End it and remove all it stored."""
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
    """Whether a server says that it is well."""
    connection = HTTPConnection(host, port, timeout=ANSWER_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        # Any path may be a bucket's: another stack answers, but not so.
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
