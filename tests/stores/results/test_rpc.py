"""Tests of results as replies over RabbitMQ: the contract of stores, and callers and workers of both packages."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from emulators.process import wait_or_kill
from taskq_cloud import TaskQ, chain, chord
from taskq_cloud.core.servers.rabbitmq import read_options
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.results.registry import store_from_url
from taskq_cloud.stores.results.rpc import RPCResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract, a_record
from taskq_cloud.testing.driving import Drive, driving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

SECONDS = 20

OURS = """
import os
from taskq_cloud import TaskQ

url, queue = os.environ["REPLIES_URL"], os.environ["REPLIES_QUEUE"]
app = TaskQ("replies", broker=url, results="rpc://", task_default_queue=queue)
task = app.task
"""
CELERYS = """
import os
from celery import Celery

app = Celery("replies", broker=os.environ["REPLIES_URL"], backend="rpc://", set_as_current=False)
app.conf.task_default_queue = os.environ["REPLIES_QUEUE"]
app.conf.broker_connection_retry_on_startup = True
task = app.task
"""
TASKS = """

@task(name="replies.add")
def add(x, y):
    return x + y


@task(name="replies.fail")
def fail():
    raise ValueError("no", 7)


@task(name="replies.flaky", bind=True, max_retries=2)
def flaky(self):
    if self.request.retries < 1:
        raise self.retry(countdown=0)
    return self.request.retries


@task(name="replies.calls")
def calls():
    return add.delay(1, 1).id
"""
PROGRAMS = {"taskq_cloud": ["worker", "-A", "ours"], "celery": ["-A", "theirs", "worker", "-l", "INFO"]}


class TestReplies(ResultStoreContract):
    @pytest.fixture
    def store(self, server_url: Callable[[str], str], clock: FakeClock) -> RPCResults:
        return RPCResults(read_options([urlsplit(server_url("rabbitmq"))], {}), clock=clock)

    def test_record_comes_to_its_caller_alone(
        self, store: RPCResults, run: Drive, server_url: Callable[[str], str], clock: FakeClock
    ) -> None:
        worker = RPCResults(read_options([urlsplit(server_url("rabbitmq"))], {}), clock=clock)
        mine, lost, gone = a_record(reply_to=store.reply_to), a_record(reply_to=""), a_record(reply_to="nobody")
        run(store.prepare())
        with driving("sync", worker.services) as run_worker:
            assert run_worker(worker.save([mine, lost, gone])) == [True] * 3
            assert run_worker(worker.load([mine.id, lost.id, gone.id])) == {}
        assert list(run(store.load([mine.id, lost.id, gone.id]))) == [mine.id]


@pytest.fixture(scope="module")
def place(server_url: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start a worker of a package, and return an application that calls its tasks."""
    folder, started, apps = tmp_path_factory.mktemp("rpc"), list[subprocess.Popen[bytes]](), list[Any]()
    (folder / "ours.py").write_text(OURS + TASKS)
    (folder / "theirs.py").write_text(CELERYS + TASKS)
    url = f"{server_url('rabbitmq')}//"
    queues: dict[str, str] = {}

    def queue_of(package: str) -> str:
        if package not in queues:
            queues[package] = f"replies-{uuid4().hex[:8]}"
            start(package, folder, url, queues[package], started)
        return queues[package]

    def caller(package: str, worker: str) -> Any:
        queue = queue_of(worker)
        if package == "celery":
            from celery import Celery

            app: Any = Celery("caller", broker=url, backend="rpc://", set_as_current=False)
            app.conf.task_default_queue = queue
        else:
            app = TaskQ("caller", broker=url, results="rpc://", task_default_queue=queue)
        apps.append(app)
        return app

    yield caller
    for process in started:
        process.terminate()
        wait_or_kill(process, SECONDS)
    for app in apps:
        app.close()


def start(package: str, folder: Path, url: str, queue: str, started: list[subprocess.Popen[bytes]]) -> None:
    path = os.pathsep.join([str(folder), *sys.path])
    variables = {"REPLIES_URL": url, "REPLIES_QUEUE": queue, "PYTHONPATH": path, "C_FORCE_ROOT": "1"}
    command = [sys.executable, "-W", "ignore", "-m", package, *PROGRAMS[package], "-P", "threads", "-c", "2"]
    with (folder / f"{package}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={**os.environ, **variables})
    started.append(process)


@pytest.mark.parametrize(
    ("caller", "worker"), [("taskq_cloud", "taskq_cloud"), ("taskq_cloud", "celery"), ("celery", "taskq_cloud")]
)
def test_results_reach_the_caller(place: Callable[[str, str], Any], caller: str, worker: str) -> None:
    app = place(caller, worker)
    results = [app.send_task("replies.add", (number, 1)) for number in range(5)]
    failed, retried = app.send_task("replies.fail"), app.send_task("replies.flaky")
    assert [each.get(timeout=SECONDS) for each in results] == [1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="no") as caught:
        failed.get(timeout=SECONDS)
    assert caught.value.args == ("no", 7)
    assert retried.get(timeout=SECONDS) == 1


@pytest.mark.parametrize("worker", ["taskq_cloud", "celery"])
def test_value_of_a_chain_reaches_its_caller(place: Callable[[str, str], Any], worker: str) -> None:
    app = place("taskq_cloud", worker)
    add = app.task(name="replies.add")(lambda x, y: None)
    assert chain(add.s(1, 2), add.s(3), add.s(4)).delay().get(timeout=SECONDS) == 10


def test_value_of_a_task_that_a_task_has_called_stays_with_that(place: Callable[[str, str], Any]) -> None:
    app = place("taskq_cloud", "taskq_cloud")
    called = app.send_task("replies.calls").get(timeout=SECONDS)
    assert app.AsyncResult(called).state == "PENDING"


def test_chord_is_refused(place: Callable[[str, str], Any]) -> None:
    app = place("taskq_cloud", "taskq_cloud")
    add = app.task(name="replies.add")(lambda x, y: None)
    with pytest.raises(ImproperlyConfigured, match="chord"):
        chord([add.s(1, 2), add.s(3, 4)], add.s(5)).delay()


@pytest.mark.parametrize("options", [{}, {"broker_url": "sqs://eu-west-1"}])
def test_broker_of_another_kind_is_named(options: dict[str, str]) -> None:
    with pytest.raises(ImproperlyConfigured, match="use an amqp:// broker"):
        store_from_url("rpc://", options)
