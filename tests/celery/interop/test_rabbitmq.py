"""Workers and callers of Celery and of ``taskq_cloud`` share queues on RabbitMQ, classic ones and quorum queues."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from uuid import uuid4

import amqp
import pytest

from emulators.process import wait_or_kill
from taskq_cloud.testing.waiting import until
from tests.celery.interop import loading
from tests.celery.interop.loading import CELERY, OURS, PACKAGES

pytest.importorskip("celery")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SECONDS: Final = 20
MODULE: Final = "depot"


@dataclass
class Depot:
    """The project of both packages in this process, and a worker of each.

    Attributes:
        queues: package -> the queue that only its worker serves. Both serve the queue ``both``.
    """

    folder: Path
    environment: dict[str, str]
    queues: dict[str, str]
    both: str
    sides: dict[str, ModuleType]
    processes: list[subprocess.Popen[bytes]]

    def journal(self, kind: str) -> list[list[Any]]:
        """The lines of a kind in the journal, with the names of the workers that have written them."""
        lines = [json.loads(line) for line in (self.folder / "journal").read_text().splitlines()]
        return [[worker, *rest] for worker, found, *rest in lines if found == kind]

    def worker(self, package: str, queues: str, name: str) -> subprocess.Popen[bytes]:
        """Start a worker of a package."""
        program = ["celery"] if package == CELERY else ["taskq_cloud", "celery"]
        options = [
            "-A",
            MODULE,
            "worker",
            "-P",
            "threads",
            "-c",
            "2",
            "-l",
            "INFO",
            "-Q",
            queues,
            "-n",
            f"{name}-{uuid4().hex[:8]}@test",
        ]
        path = os.pathsep.join([str(self.folder / package), *sys.path])
        environment = {**os.environ, **self.environment, "PYTHONPATH": path, "INTEROP_WORKER": name}
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", *program, *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment,
            )
        self.processes.append(process)
        return process

    def stop(self) -> None:
        """Stop the workers, and wait until they have ended."""
        for process in self.processes:
            process.terminate()
        while self.processes:
            wait_or_kill(self.processes.pop(), SECONDS)


@pytest.fixture(scope="module", params=["classic", "quorum"])
def depot(
    request: pytest.FixtureRequest, server_url: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Depot]:
    folder = tmp_path_factory.mktemp("rabbitmq")
    (folder / "journal").touch()
    mark = uuid4().hex[:8]
    queues, both = {CELERY: f"theirs-{mark}", OURS: f"ours-{mark}"}, f"both-{mark}"
    # Celery leaves a delay to the server for quorum queues with a topic exchange.
    exchange_type = {"classic": "direct", "quorum": "topic"}[request.param]
    url = f"{server_url('rabbitmq')}//"
    environment = {
        "INTEROP_RABBITMQ": url,
        "INTEROP_QUEUE": both,
        "INTEROP_QUEUE_TYPE": request.param,
        "INTEROP_EXCHANGE_TYPE": exchange_type,
        "INTEROP_JOURNAL": str(folder / "journal"),
    }
    for package in PACKAGES:
        loading.write_project(package, folder / package)
    urls = {
        CELERY: {
            "INTEROP_RABBITMQ": url,
            "INTEROP_RESULTS": f"taskq+sqlite:///{folder}/results.db",
        },
        OURS: {
            "INTEROP_RABBITMQ": f"{url}?queue_type={request.param}&exchange_type={exchange_type}",
            "INTEROP_RESULTS": f"sqlite:///{folder}/results.db",
        },
    }
    with pytest.MonkeyPatch.context() as patch:
        sides = {}
        for package in PACKAGES:
            environment |= urls[package]
            for name, value in environment.items():
                patch.setenv(name, value)
            sides[package] = loading.load(folder / package, MODULE)
        made = Depot(folder, environment, queues, both, sides, [])
        for package in PACKAGES:
            environment |= urls[package]
            made.worker(package, f"{queues[package]},{both}", package)
        yield made
        made.stop()
        for side in sides.values():
            side.app.close()


def get(result: Any, **options: Any) -> Any:
    return result.get(timeout=SECONDS, interval=0.02, **options)


@pytest.mark.parametrize("caller", PACKAGES)
def test_workflows_go_through_workers_of_both(depot: Depot, caller: str) -> None:
    side = depot.sides[caller]
    queues = [tuple(depot.queues.values()), tuple(reversed(depot.queues.values()))]
    started = [(flow.apply_async(), value) for order in queues for flow, value in side.workflows(order)]
    for result, value in started:
        assert get(result) == value


@pytest.mark.parametrize("served_by", PACKAGES)
@pytest.mark.parametrize("caller", PACKAGES)
def test_calls_run_on_the_worker_of_the_other_as_on_its_own(depot: Depot, caller: str, served_by: str) -> None:
    side, queue = depot.sides[caller], depot.queues[served_by]
    begun = time.time()
    late = side.about.apply_async(queue=queue, countdown=1.5)
    failed = side.fail.apply_async(queue=queue)
    retried = side.flaky.apply_async((2,), queue=queue)
    expired = side.add.apply_async((1, 1), queue=queue, expires=-5)
    urgent = [side.about.apply_async(queue=queue, priority=priority) for priority in (0, 3, 9)]
    packed = side.add.apply_async((2, 3), queue=queue, compression="zlib")

    assert get(packed) == 5
    for priority, result in zip((0, 3, 9), urgent, strict=True):
        assert get(result)[:3] == [served_by, queue, priority]
    with pytest.raises(ValueError, match="no") as caught:
        get(failed)
    assert caught.value.args == ("no", 7)
    assert get(retried) == 2
    if caller == OURS:  # Celery gives its message an expiry, by which RabbitMQ drops it without a word
        until(lambda: expired.state == "REVOKED", "the expired call to be revoked", SECONDS)
    *_, ran_at = get(late)
    assert 1.5 <= ran_at - begun <= 4


def test_every_call_ends_exactly_once_on_the_queue_of_both(depot: Depot) -> None:
    sent: dict[str, int] = {}
    for _ in range(10):
        started = [(side.once.delay(number), number) for number in range(30) for side in depot.sides.values()]
        for result, number in started:
            assert get(result) == number
            sent[result.id] = number
        runs = depot.journal("once")
        if {worker for worker, *_ in runs} == set(PACKAGES):
            break
    assert {worker for worker, *_ in runs} == set(PACKAGES), "one of the workers has run nothing"
    assert Counter(task_id for _, task_id, _ in runs) == Counter(list(sent))


def test_messages_are_all_gone_at_the_end(depot: Depot) -> None:
    with amqp.Connection(depot.environment["INTEROP_RABBITMQ"].split("@")[1].split("/")[0]) as connection:
        channel = connection.channel()

        def are_gone() -> bool:
            names = (*depot.queues.values(), depot.both)
            return not any(channel.queue_declare(name, passive=True).message_count for name in names)

        until(are_gone, "all messages to be taken", SECONDS)
    assert [process.poll() for process in depot.processes] == [None, None]
