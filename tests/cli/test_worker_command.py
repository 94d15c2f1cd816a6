"""``taskq worker``: options, banner and log; and call, worker and result as separate processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from taskq_cloud.cli.worker import worker_name
from tests.cli.conftest import TaskQCommand

Process = Callable[..., subprocess.CompletedProcess[str]]

BURST = ("--burst", "--pool", "solo")


def test_banner_names_application_urls_queues_pool_and_tasks(taskq: TaskQCommand, shop: str) -> None:
    result = taskq("-A", shop, "worker", *BURST, "-n", "one@%%")
    assert result.exit_code == 0
    assert result.stderr.startswith("one@%\n")
    urls = ("sqlite:///.taskq/broker.db", "sqlite:///.taskq/results.db")
    for text in (f"app      {shop}", *urls, "celery, mail", "solo", f"{shop}.add"):
        assert text in result.stderr
    assert result.stdout == ""


def test_quiet_worker_prints_no_banner(taskq: TaskQCommand, shop: str) -> None:
    result = taskq("-A", shop, "worker", *BURST, "-q", "-l", "error")
    assert (result.exit_code, result.output) == (0, "")


def test_worker_serves_only_the_named_queues(taskq: TaskQCommand, shop: str) -> None:
    mail = taskq("-A", shop, "call", f"{shop}.notify", "-a", "[1]").stdout.strip()
    add = taskq("-A", shop, "call", f"{shop}.add", "-a", "[1, 2]").stdout.strip()
    assert taskq("-A", shop, "worker", *BURST, "-Q", "mail").exit_code == 0
    assert taskq("-A", shop, "result", mail).exit_code == 0
    assert taskq("-A", shop, "result", add).exit_code == 2


def test_time_limit_options_apply_to_tasks_without_own_limits(
    taskq: TaskQCommand, taskq_process: Process, shop: str, tmp_path: Path
) -> None:
    module = tmp_path / f"{shop}.py"
    module.write_text(
        module.read_text()
        + """
from taskq_cloud import current_request

@app.task
def limits() -> list[float]:
    return list(current_request().timelimit)
"""
    )
    task_id = taskq("-A", shop, "call", f"{shop}.limits").stdout.strip()
    limits = ("--time-limit", "50", "--soft-time-limit", "40")
    worker = taskq_process("-A", shop, "worker", "--burst", "-c", "1", *limits)
    assert worker.returncode == 0, worker.stderr
    assert json.loads(taskq("-A", shop, "result", task_id, "--json").stdout)["result"] == [50.0, 40.0]


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "0"),
        ("--autoscale", "1,2"),
        ("-P", "forks"),
        ("--time-limit", "0"),
        ("--health-port", "70000"),
        ("-l", "loud"),
        ("--purge",),
    ],
)
def test_invalid_worker_option_is_a_usage_error(taskq: TaskQCommand, shop: str, arguments: tuple[str, ...]) -> None:
    assert taskq("-A", shop, "worker", *BURST, *arguments).exit_code == 2


def test_worker_without_application_is_a_usage_error(taskq: TaskQCommand) -> None:
    result = taskq("-b", "memory://", "worker")
    assert result.exit_code == 2
    assert "-A shop" in result.stderr


def test_worker_name_follows_the_rules_of_celery() -> None:
    host = socket.gethostname()
    assert worker_name("one") == f"one@{host}"
    assert worker_name("one@%h") == f"one@{host}"
    assert worker_name("%n@%d") == "{0}@{2}".format(*host.partition("."))
    assert worker_name("a%%h@b") == "a%h@b"


def test_json_log_lines_hold_action_and_task_ids(taskq: TaskQCommand, shop: str) -> None:
    task_id = taskq("-A", shop, "call", f"{shop}.add", "-a", "[1, 2]").stdout.strip()
    result = taskq("-A", shop, "worker", *BURST, "--log-format", "json")
    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert "worker.ready" in [line.get("action") for line in lines]
    (of_the_task,) = [line for line in lines if line["message"] == "adding 1 and 2"]
    assert of_the_task["task_id"] == task_id
    assert of_the_task["task"] == f"{shop}.add"


def test_text_log_line_of_a_task_ends_with_its_id(taskq: TaskQCommand, shop: str) -> None:
    task_id = taskq("-A", shop, "call", f"{shop}.add", "-a", "[1, 2]").stdout.strip()
    (line,) = [line for line in taskq("-A", shop, "worker", *BURST).stderr.splitlines() if "adding 1 and 2" in line]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO ", line)
    assert line.endswith(f"[task_id={task_id}]")


def test_call_worker_and_result_work_as_separate_processes(taskq_process: Process, shop: str, tmp_path: Path) -> None:
    called = taskq_process("call", "-A", shop, f"{shop}.add", "-a", "[2, 3]")
    assert called.returncode == 0, called.stderr
    task_id = called.stdout.strip()
    assert (tmp_path / ".taskq" / "broker.db").exists()
    pending = taskq_process("-A", shop, "result", task_id)
    assert pending.returncode == 2
    worker = taskq_process("worker", "-A", shop, "--burst", "-c", "1")
    assert worker.returncode == 0, worker.stderr
    # The task itself logged this line, in a process of the pool, in the worker's format.
    assert f"adding 2 and 3 [task_id={task_id}]" in worker.stderr
    done = taskq_process("-A", shop, "result", task_id, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["result"] == 5


def test_error_of_a_process_is_one_line_without_traceback(taskq_process: Process) -> None:
    result = taskq_process("-A", "nowhere", "worker")
    assert result.returncode == 1
    assert result.stderr.startswith("Error: no module 'nowhere'")
    assert result.stderr.count("\n") == 1


def test_python_m_taskq_cloud_runs_the_command(tmp_path: Path, shop: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "taskq_cloud", "-A", shop, "queues"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "celery" in done.stdout


def test_running_worker_is_healthy_answers_callers_and_stops_at_sigterm(
    taskq_process: Process, shop: str, tmp_path: Path
) -> None:
    port = free_port()
    log = tmp_path / "worker.log"
    with log.open("w") as stderr:
        worker = subprocess.Popen(
            [sys.executable, "-m", "taskq_cloud", "worker", "-A", shop, "-P", "threads", "--health-port", str(port)],
            cwd=tmp_path,
            stderr=stderr,
            env={**os.environ, "TASKQ_WAIT_TIME_SECONDS": "0.2"},
        )
    try:
        wait_until_healthy(port, worker)
        called = taskq_process("-A", shop, "call", f"{shop}.notify", "-a", "[7]", "--wait", "30")
        assert (called.returncode, called.stdout) == (0, '"told 7"\n'), called.stderr + log.read_text()
        failed = taskq_process("-A", shop, "call", f"{shop}.fail", "-a", '["no paper"]', "--wait", "30")
        assert failed.returncode == 1
        assert "ValueError: no paper" in failed.stderr
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=60) == 0, log.read_text()
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()


def test_taken_health_port_is_a_one_line_error(taskq: TaskQCommand, shop: str) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        result = taskq("-A", shop, "worker", *BURST, "--health-port", str(port))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert str(port) in result.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def wait_until_healthy(port: int, worker: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and worker.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)  # between two requests
    raise AssertionError(f"the worker never became healthy; exit code {worker.poll()}")


def test_pool_processes_send_to_the_broker_of_the_command_line(
    taskq: TaskQCommand, taskq_process: Process, shop: str, tmp_path: Path
) -> None:
    module = tmp_path / f"{shop}.py"
    module.write_text(
        module.read_text().replace('TaskQ("shop")', 'TaskQ("shop", broker="sqlite:///own.db")')
        + """
@app.task
def both() -> str:
    return add.delay(3, 4).id
"""
    )
    elsewhere = ("-A", shop, "-b", "sqlite:///other.db", "--results", "sqlite:///results.db")
    task_id = taskq(*elsewhere, "call", f"{shop}.both").stdout.strip()
    worker = taskq_process(*elsewhere, "worker", "--burst", "-c", "1")
    assert worker.returncode == 0, worker.stderr
    called = json.loads(taskq(*elsewhere, "result", task_id, "--json").stdout)["result"]
    taskq_process(*elsewhere, "worker", "--burst", "-P", "solo")
    assert json.loads(taskq(*elsewhere, "result", called, "--json").stdout)["result"] == 7
    assert not (tmp_path / "own.db").exists()
