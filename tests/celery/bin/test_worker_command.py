"""``celery worker`` and what it needs, as processes: Celery's command lines run as they stand."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.celery.bin.conftest import CELERY, Run, Start

TASKQ = ("-m", "taskq_cloud", "celery")
PROGRAM = ("-m", "taskq_cloud.celery")


def call_and_stop(run: Run, process: object, name: str, *arguments: str) -> str:
    """Call a task, wait for its value, and stop the worker in order."""
    task_id = run(*TASKQ, "-A", "shop", "call", name, *arguments).stdout.strip()
    value = run(*TASKQ, "-A", "shop", "result", task_id)
    process.send_signal(signal.SIGTERM)  # type: ignore[attr-defined]
    process.wait(30)  # type: ignore[attr-defined]
    return value.stdout.strip() or value.stderr


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_worker_with_pool_runs_task_and_ends_in_order(shop: Path, run: Run, start: Start, pool: str) -> None:
    worker = start(*TASKQ, "-A", "shop", "worker", "-P", pool, "-c", "1", "-l", "INFO", "-n", "one@%h")
    assert call_and_stop(run, worker, "shop.tasks.add", "-a", "[2, 3]") == "5"
    assert worker.returncode == 0
    output = (shop / "output").read_text()
    assert ".> transport:   sqlite:///broker.db" in output
    assert "  . shop.tasks.add" in output
    noted = (shop / "noted").read_text().splitlines()
    host = os.uname().nodename
    assert noted == [
        "init",
        f"ready one@{host} shop",
        f"shutting down one@{host} Warm",
        f"shutdown one@{host}",
    ]


@pytest.mark.slow
def test_prefork_worker_runs_task_in_process_of_its_own(run: Run, start: Start) -> None:
    worker = start(*PROGRAM, "-A", "shop.celery:app", "worker", "-c", "1", "-n", "two@host")
    assert call_and_stop(run, worker, "shop.tasks.where") == "['two@host', True]"


def test_native_worker_takes_celery_application(run: Run, start: Start) -> None:
    worker = start("-m", "taskq_cloud", "worker", "-A", "shop", "-c", "1")
    assert call_and_stop(run, worker, "shop.tasks.add", "-a", "[4, 5]") == "9"
    assert worker.returncode == 0


def test_hangup_stops_the_worker(shop: Path, run: Run, start: Start) -> None:
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    try:
        worker = start(*TASKQ, "-A", "shop", "worker", "-P", "solo", "-n", "one@here")
    finally:
        signal.signal(signal.SIGHUP, inherited)
    task_id = run(*TASKQ, "-A", "shop", "call", "shop.tasks.add", "-a", "[2, 3]").stdout.strip()
    assert run(*TASKQ, "-A", "shop", "result", task_id).stdout.strip() == "5"
    worker.send_signal(signal.SIGHUP)
    assert worker.wait(30) == 0
    assert (shop / "noted").read_text().splitlines()[-1] == "shutdown one@here"


SIGNALS = """
import logging
from taskq_cloud.celery import bootsteps, signals
from shop.celery import app
from shop.tasks import note


@signals.celeryd_init.connect
def configured(sender=None, instance=None, conf=None, options=None, **kwargs):
    conf.worker_concurrency = 3
    note(f"celeryd_init {sender} {instance.app.main}")


@signals.setup_logging.connect
def logging_is_set_up(sender=None, loglevel=None, **kwargs):
    note(f"setup_logging {loglevel}")


@signals.celeryd_after_setup.connect
def set_up(sender=None, instance=None, **kwargs):
    instance.app.amqp.queues.select_add("of-worker")
    note(f"celeryd_after_setup {sender}")


@signals.beat_init.connect
def beats(sender=None, **kwargs):
    note("beat_init")


class Step(bootsteps.StartStopStep):
    def start(self, worker):
        note(f"step {worker.hostname}")


app.steps["worker"].add(Step)
"""


def test_native_worker_sends_signals_of_celerys_program(shop: Path, run: Run, start: Start) -> None:
    (shop / "shop" / "celery.py").write_text(CELERY.replace('"shop.tasks"', '"shop.tasks", "shop.hooked"'))
    (shop / "shop" / "hooked.py").write_text(SIGNALS)
    worker = start("-m", "taskq_cloud", "worker", "-A", "shop", "-P", "threads", "--beat", "-n", "one@here")
    task_id = run(*TASKQ, "-A", "shop", "call", "shop.tasks.add", "-a", "[2, 3]", "--queue", "of-worker").stdout.strip()
    assert run(*TASKQ, "-A", "shop", "result", task_id).stdout.strip() == "5"
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert (shop / "noted").read_text().splitlines() == [
        "celeryd_init one@here shop",
        "init",
        "setup_logging 20",
        "celeryd_after_setup one@here",
        "step one@here",
        "ready one@here shop",
        "beat_init",
        "shutting down one@here Warm",
        "shutdown one@here",
    ]
    assert "threads, 3 tasks at a time" in (shop / "output").read_text()


def test_native_beat_sends_signals_of_celerys_program(shop: Path, start: Start) -> None:
    (shop / "shop" / "celery.py").write_text(CELERY.replace('"shop.tasks"', '"shop.tasks", "shop.hooked"'))
    (shop / "shop" / "hooked.py").write_text(SIGNALS)
    beat = start("-m", "taskq_cloud", "beat", "run", "-A", "shop")
    noted, until = shop / "noted", time.monotonic() + 30
    while time.monotonic() < until and not (noted.exists() and "beat_init" in noted.read_text()):
        time.sleep(0.05)
    beat.send_signal(signal.SIGTERM)
    beat.wait(30)
    assert noted.read_text().splitlines() == ["setup_logging 20", "beat_init"]


def test_prefork_children_of_native_worker_are_logged_by_receivers(shop: Path, run: Run, start: Start) -> None:
    (shop / "shop" / "celery.py").write_text(CELERY.replace('"shop.tasks"', '"shop.tasks", "shop.hooked"'))
    (shop / "shop" / "hooked.py").write_text(SIGNALS)
    worker = start("-m", "taskq_cloud", "worker", "-A", "shop", "-c", "1")
    assert call_and_stop(run, worker, "shop.tasks.add", "-a", "[4, 5]") == "9"
    assert (shop / "noted").read_text().splitlines().count("setup_logging 20") > 1


@pytest.mark.slow
def test_worker_main_of_script_runs_its_tasks(shop: Path, run: Run, start: Start) -> None:
    (shop / "script.py").write_text(
        "import sys\n"
        "from taskq_cloud.celery import Celery\n"
        "app = Celery('small', broker='sqlite:///broker.db', backend='sqlite:///results.db')\n"
        "@app.task\n"
        "def double(x):\n    return 2 * x\n"
        "if __name__ == '__main__':\n"
        "    if sys.argv[1:]:\n        app.worker_main(['worker', '-c', '1', '-l', 'WARNING'])\n"
        "    else:\n        result = double.delay(21)\n        print(result.get(timeout=30), double.name)\n"
    )
    worker = start("script.py", "worker")
    called = run("script.py")
    worker.send_signal(signal.SIGTERM)
    worker.wait(30)
    assert called.stdout.split() == ["42", "small.double"], called.stderr


@pytest.mark.slow
def test_detached_worker_writes_its_pid_and_log(shop: Path, run: Run) -> None:
    pid_file, log = shop / "w.pid", shop / "w.log"
    started = run(*PROGRAM, "-A", "shop", "worker", "--detach", "--pidfile=w.pid", "--logfile=w.log", "-l", "INFO")
    assert started.returncode == 0, started.stderr
    task_id = run(*TASKQ, "-A", "shop", "call", "shop.tasks.add", "-a", "[1, 1]").stdout.strip()
    assert run(*TASKQ, "-A", "shop", "result", task_id).stdout.strip() == "2"
    pid = int(pid_file.read_text())
    second = run(*PROGRAM, "-A", "shop", "worker", "--pidfile=w.pid")
    assert second.returncode == 73
    assert f"already running? (pid: {pid})" in second.stderr
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 30
    while pid_file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "ready." in log.read_text()


@pytest.mark.slow
def test_options_without_effect_are_named_in_one_line(shop: Path, run: Run, start: Start) -> None:
    worker = start(
        *PROGRAM, "-A", "shop", "worker", "-P", "solo", "-O", "fair", "-E", "--without-gossip", "--without-mingle"
    )
    assert call_and_stop(run, worker, "shop.tasks.add", "-a", "[1, 2]") == "3"
    lines = [line for line in (shop / "output").read_text().splitlines() if "no effect" in line]
    assert lines == [
        (
            "These options have no effect in taskq_cloud: -O fair (a free process gets the next message), -E (workers "
            "send no events yet), --without-gossip, --without-mingle."
        )
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("worker", "-P", "forks"), 2, "'forks' is not one of"),
        (("worker", "-c", "many"), 2, "must be a non-negative integer or 'auto'"),
        (("worker", "--autoscale", "1,2,3"), 2, "Expected two comma separated integers"),
        (("worker", "--", "no.such=1"), 2, "Unable to parse extra configuration"),
        (("inspect", "nothing"), 2, "Command nothing not recognized"),
        (("inspect", "active"), 1, "workers can't be asked yet"),
        (("status",), 1, "workers can't be asked yet"),
        (("control", "rate_limit", "a", "1/s"), 1, "set rate_limit of the task"),
        (("multi", "start", "w1"), 1, "the platform starts and watches workers"),
        (("amqp", "queue.purge", "x"), 1, "taskq purge"),
        (("graph", "bootsteps"), 1, "taskq topology"),
        (("call", "x", "-a", "{}"), 2, "was not an array"),
    ],
)
def test_refusal_is_one_line_with_exit_code(run: Run, arguments: tuple[str, ...], code: int, text: str) -> None:
    ran = run(*TASKQ, "-A", "shop", *arguments)
    assert ran.returncode == code
    assert text in ran.stderr
    assert "Traceback" not in ran.stderr


def test_unknown_application_is_an_error_that_names_it(run: Run) -> None:
    ran = run(*TASKQ, "-A", "nowhere", "report")
    assert ran.returncode == 2
    assert "The module nowhere was not found." in ran.stderr


def test_purge_asks_and_counts(run: Run) -> None:
    run(*TASKQ, "-A", "shop", "call", "shop.tasks.add", "-a", "[1, 2]")
    kept = run(*TASKQ, "-A", "shop", "purge", input="n\n")
    assert kept.returncode == 1
    assert "There is no undo" in kept.stdout
    assert run(*TASKQ, "-A", "shop", "purge", "-f").stdout == "Purged 1 message from 1 known task queue.\n"
    assert run(*TASKQ, "-A", "shop", "purge", "-f").stdout == "No messages purged from 1 queue.\n"


def test_revoked_task_does_not_run(run: Run, start: Start) -> None:
    task_id = run(*TASKQ, "-A", "shop", "call", "shop.tasks.add", "-a", "[1, 2]", "--countdown", "1").stdout.strip()
    assert run(*TASKQ, "-A", "shop", "control", "revoke", task_id).stdout == "1 task revoked.\n"
    worker = start(*PROGRAM, "-A", "shop", "worker", "-P", "solo")
    value = run(*TASKQ, "-A", "shop", "result", task_id)
    worker.send_signal(signal.SIGTERM)
    worker.wait(30)
    assert (value.returncode, value.stderr) == (1, "Error: TaskRevokedError: revoked\n")


def test_report_and_bindings_show_the_application(run: Run) -> None:
    assert "broker_url: 'sqlite:///broker.db'" in run(*TASKQ, "-A", "shop", "report").stdout
    assert run(*TASKQ, "-A", "shop", "list", "bindings").stdout.splitlines()[2].split() == ["celery"] * 3


def test_shell_has_application_and_tasks(run: Run) -> None:
    ran = run(*TASKQ, "-A", "shop", "shell", "--python", input="print(add(2, 3), app.main, chain)\n")
    assert "5 shop <class" in ran.stdout, ran.stderr


@pytest.mark.slow
def test_options_of_the_project_reach_its_bootsteps(shop: Path, run: Run, start: Start) -> None:
    (shop / "shop" / "celery.py").write_text(
        (shop / "shop" / "celery.py").read_text() + "import click\n"
        "from taskq_cloud.celery import bootsteps\n"
        "app.user_options['worker'].add(click.Option(('--alive-file',), default='none'))\n"
        "class Alive(bootsteps.Step):\n"
        "    def __init__(self, parent, alive_file='', **options):\n"
        "        with open(alive_file, 'w') as file:\n"
        "            file.write(parent.hostname)\n"
        "app.steps['worker'].add(Alive)\n"
    )
    worker = start(*PROGRAM, "-A", "shop", "worker", "-P", "solo", "-n", "a@b", "--alive-file", "alive")
    assert call_and_stop(run, worker, "shop.tasks.add", "-a", "[1, 2]") == "3"
    assert (shop / "alive").read_text() == "a@b"


SCHEDULE = """
app.conf.beat_schedule = {"often": {"task": "shop.tasks.tick", "schedule": 0.1}}

@app.task(name="shop.tasks.tick", ignore_result=True)
def tick():
    open("ticked", "a").close()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("worker_options", "beat_options"),
    [
        (("-B",), None),
        ((), ()),
        ((), ("-S", "celery.beat:Scheduler", "--max-interval", "1")),
    ],
)
def test_periodic_tasks_are_sent(
    shop: Path, start: Start, worker_options: tuple[str, ...], beat_options: tuple[str, ...] | None
) -> None:
    (shop / "shop" / "celery.py").write_text((shop / "shop" / "celery.py").read_text() + SCHEDULE)
    started = [start(*PROGRAM, "-A", "shop", "worker", "-P", "threads", "-c", "1", "-l", "INFO", *worker_options)]
    if beat_options is not None:
        started.append(start(*PROGRAM, "-A", "shop", "beat", "-l", "INFO", "--pidfile", "beat.pid", *beat_options))
    deadline = time.monotonic() + 30
    while not (shop / "ticked").exists():
        assert time.monotonic() < deadline, (shop / "output").read_text()
        time.sleep(0.05)
    for process in started:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(30) for process in started] == [0] * len(started)
    assert not (shop / "beat.pid").exists()


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_output_and_records_of_tasks_are_in_the_log_of_the_worker(
    shop: Path, run: Run, start: Start, pool: str
) -> None:
    worker = start(
        *PROGRAM, "-A", "shop", "worker", "-P", pool, "-c", "1", "-l", "INFO", "--logfile=%n.log", "-n", "w1@%h"
    )
    assert call_and_stop(run, worker, "shop.tasks.speak", "-a", '["hello"]') == ""
    log = (shop / "w1.log").read_text()
    assert re.search(r"WARNING/\w+\] printed hello", log), log
    assert re.search(r"INFO/\w+\] shop\.tasks\.speak\[[0-9a-f-]+\]: logged hello", log), log


@pytest.mark.slow
def test_modules_limits_and_queues_of_the_command_line_reach_the_processes(shop: Path, run: Run, start: Start) -> None:
    (shop / "more.py").write_text("from shop.celery import app\n@app.task\ndef extra():\n    return 'extra'\n")
    worker = start(
        *PROGRAM,
        "-A",
        "shop",
        "worker",
        "-c",
        "2",
        "-I",
        "more",
        "-Q",
        "celery,mail",
        "-X",
        "mail",
        "--time-limit",
        "0.5",
    )
    task_id = run(*TASKQ, "-A", "shop", "call", "shop.tasks.hang").stdout.strip()
    assert "TimeLimitExceeded" in run(*TASKQ, "-A", "shop", "result", task_id).stderr
    assert call_and_stop(run, worker, "more.extra") == "extra"
    output = (shop / "output").read_text()
    assert ".> celery " in output
    assert ".> mail " not in output
