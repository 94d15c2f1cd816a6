"""The application of scenarios whose worker is a program. The environment names the library and the addresses."""

import os
import time
from typing import Any

from tests.celery.scenarios.library import Library
from tests.celery.scenarios.workers import Running, declare_tasks

lib = Library(os.environ["SCENARIOS_LIBRARY"])
folder = os.environ["SCENARIOS_FOLDER"]
app: Any = lib.Celery(
    "project",
    broker=os.environ["SCENARIOS_BROKER"],
    backend=os.environ["SCENARIOS_BACKEND"],
    broker_transport_options={
        "data_folder_in": f"{folder}/messages",
        "data_folder_out": f"{folder}/messages",
        "control_folder": f"{folder}/control",
        "polling_interval": 0.05,
    }
    if lib.is_celery
    else {},
    result_chord_retry_interval=0.1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
running = Running(lib, app)
declare_tasks(running)
exceptions = lib.module("exceptions")
signals = lib.module("signals")
started_with: list[str] = []


@signals.worker_process_init.connect
def note_process(**_: Any) -> None:
    started_with.append("worker_process_init")


@running.task()
def process():
    return [os.getpid(), started_with]


@running.task(time_limit=1)
def too_long():
    time.sleep(30)


@running.task(soft_time_limit=1)
def softly_limited():
    try:
        time.sleep(30)
    except exceptions.SoftTimeLimitExceeded:
        return "cleaned up"


@running.task(soft_time_limit=1)
def softly_ended():
    time.sleep(30)


@running.task(bind=True)
def limits(self):
    return self.request.timelimit


@running.task()
def leave():
    os._exit(3)


@running.task()
def exit_politely():
    raise SystemExit(3)


@running.task()
def sleep(seconds):
    time.sleep(seconds)
    return seconds


@running.task(bind=True)
def hostname(self):
    return bool(self.request.hostname), self.request.called_directly, self.request.is_eager
