"""The local AWS stack: ministack in a process of its own, for tests, the demo and benchmarks.

It listens on loopback only. Its Lambda functions run under the same interpreter, so they can import what this
environment has installed. What is created in it (queues, tables, functions) is its users' business.
"""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

REGION = "eu-west-1"

START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 15.0
_POLL_INTERVAL_SECONDS = 0.05

_TICK_SECONDS = 0.25
"""How often schedules are looked at; ministack's own 10 s make every test of one wait."""

_PROGRAM = """
import json, os, signal, sys, threading
from datetime import datetime, timezone

def end_with_the_starter():
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end_with_the_starter, daemon=True).start()
def filled(target, event, schedule):
    # ministack leaves the context attributes as they are. A cron schedule is due at the beginning of a minute.
    moment = datetime.fromtimestamp(int(event["Time"]), timezone.utc).replace(tzinfo=None)
    if "cron(" in str(schedule.get("ScheduleExpression")):
        moment = moment.replace(second=0)
    values = {
        "scheduled-time": f"{moment.isoformat()}Z",
        "schedule-arn": schedule.get("Arn", ""),
        "execution-id": event["EventId"],
        "attempt-number": "1",
    }
    text = target.get("Input", "")
    for name, value in values.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return {**target, "Input": text} if text else target

def list_schedules_by_pages(scheduler):
    # ministack ends a list at its first page, and finds nothing in a group that isn't there.
    list_all = scheduler._list_schedules
    def list_schedules(query):
        group, begin = query.get("ScheduleGroup"), int(query.get("NextToken") or 0)
        if group and group not in scheduler._schedule_groups:
            return scheduler._error(404, "ResourceNotFoundException", f"Schedule group {group} does not exist.")
        _, _, body = list_all({**query, "MaxResults": str(sys.maxsize)})
        found, end = json.loads(body)["Schedules"], begin + int(query.get("MaxResults", 100))
        more = {"NextToken": str(end)} if end < len(found) else {}
        return scheduler._json_resp(200, {"Schedules": found[begin:end], **more})
    scheduler._list_schedules = list_schedules

def send_messages_of_universal_targets(scheduler, eventbridge, sqs):
    # ministack sends to a queue that is the target itself, and knows no target that is SQS's SendMessage.
    invoke = eventbridge._invoke_target
    def invoke_target(target, event, rule, view=None):
        target = filled(target, event, rule)
        if not target.get("Arn", "").endswith(":scheduler:::aws-sdk:sqs:sendMessage"):
            return invoke(target, event, rule, view)
        parameters = json.loads(target["Input"])
        return sqs._act_send_message(parameters, parameters["QueueUrl"])
    eventbridge._invoke_target = invoke_target
    scheduler._SCHEDULE_TICK_INTERVAL = eventbridge._SCHEDULER_TICK_INTERVAL = TICK_SECONDS

sys.argv = ["ministack"]
from ministack.app import main
from ministack.services import eventbridge, scheduler, sqs
send_messages_of_universal_targets(scheduler, eventbridge, sqs)
list_schedules_by_pages(scheduler)
main()
""".replace("TICK_SECONDS", str(_TICK_SECONDS))
"""Its standard input is a pipe from the process that started it: whatever ends that one, closes the pipe."""

# Below the range that Linux hands to outgoing connections (net.ipv4.ip_local_port_range): while the stack is stopped in
# an outage test, no client's own socket can come to sit on its port.
_FIRST_PORT, _LAST_PORT = 20_000, 32_000


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


def missing() -> str | None:
    """Why the stack can't be started here, or None."""
    if importlib.util.find_spec("ministack") is None:
        return "the local AWS stack is not installed: pip install 'taskq-cloud[local]'"
    return None


class LocalStack:
    """One ministack. A context manager: started on entry, ended with all it stored on exit.

    Args:
        port: the port to listen on; None picks a free one, which a restart keeps.
    """

    def __init__(self, port: int | None = None) -> None:
        self.port = port or _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None

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
        return self._directory / "ministack.log" if self._directory else None

    def environment(self) -> dict[str, str]:
        """What an AWS SDK needs to find it: ``environment(self.endpoint_url)``."""
        return environment(self.endpoint_url)

    def start(self) -> None:
        """Start it and wait until it answers. What it had stored before ``stop`` is there again.

        Raises:
            RuntimeError: it ended or gave no answer; says what it printed.
        """
        reason = missing()
        if reason:
            raise RuntimeError(reason)
        if self._process is not None:
            raise RuntimeError(f"the local AWS stack is already running at {self.endpoint_url}")
        if not _is_free(self.port):
            # Whoever has the port might even answer like the stack.
            raise RuntimeError(f"the local AWS stack can't start: port {self.port} of 127.0.0.1 is taken")
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="taskq-local-stack-"))
        with (self._directory / "ministack.log").open("ab") as log:
            # A session of its own: Ctrl-C in a terminal reaches the worker under test, which drains against a stack
            # that is still there; and the functions' processes can be ended with it.
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
                [sys.executable, "-c", _PROGRAM],
                env={**os.environ, **self._settings(self._directory)},
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

    def _settings(self, directory: Path) -> dict[str, str]:
        return {
            **self.environment(),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "LOG_LEVEL": "WARNING",
            "TMPDIR": str(directory),
            "PERSIST_STATE": "1",
            "STATE_DIR": str(directory / "state"),
            "S3_DATA_DIR": str(directory / "s3"),
        }

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not _answers(self.port):
            code = process.poll()
            if code is not None:
                raise RuntimeError(f"the local AWS stack ended with code {code}: {self._last_words()}")
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"the local AWS stack gave no answer at {self.endpoint_url} within {START_TIMEOUT_SECONDS:g} s: "
                    f"{self._last_words()}"
                )
            time.sleep(_POLL_INTERVAL_SECONDS)

    def _last_words(self) -> str:
        path = self.log_path
        return path.read_text(errors="replace")[-2000:].strip() if path and path.exists() else "it printed nothing"


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/_ministack/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    for port in random.sample(range(_FIRST_PORT, _LAST_PORT), 100):
        if _is_free(port):
            return port
    raise RuntimeError(f"no free port on 127.0.0.1 between {_FIRST_PORT} and {_LAST_PORT}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Connections that a stopped stack has just closed don't count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
