"""Workers and callers of Celery and of ``taskq_cloud`` share queues on Redis, in Celery's layout."""

from __future__ import annotations

import json
import os
import signal
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

import pytest

from emulators.process import wait_or_kill
from taskq_cloud.brokers._redis_celery import CeleryRedisBroker
from taskq_cloud.core.ports import Depth
from taskq_cloud.testing.driving import driving
from taskq_cloud.testing.waiting import until
from tests.celery.interop import loading
from tests.celery.interop.loading import CELERY, OURS, PACKAGES

pytest.importorskip("celery")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SECONDS: Final = 20
MODULE: Final = "warehouse"
QUEUES: Final = {CELERY: "theirs", OURS: "ours"}
"""The queue that only the worker of a package serves. Both serve the queue ``both``."""


@dataclass
class Warehouse:
    """The project of both packages in this process, and a worker of each."""

    folder: Path
    environment: dict[str, str]
    sides: dict[str, ModuleType]
    processes: list[subprocess.Popen[bytes]]

    def journal(self, kind: str) -> list[list[Any]]:
        """The lines of a kind in the journal, with the names of the workers that have written them."""
        lines = [json.loads(line) for line in (self.folder / "journal").read_text().splitlines()]
        return [[worker, *rest] for worker, found, *rest in lines if found == kind]

    def worker(self, package: str, queues: str, name: str) -> subprocess.Popen[bytes]:
        """Start a worker of a package."""
        program = ["celery"] if package == CELERY else ["taskq_cloud", "celery"]
        options = ["-A", MODULE, "worker", "-P", "threads", "-c", "2", "-l", "INFO", "-Q", queues, "-n", f"{name}@test"]
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


@pytest.fixture(scope="module")
def warehouse(server_url: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    folder = tmp_path_factory.mktemp("redis")
    (folder / "journal").touch()
    url = server_url("redis")
    environment = {
        "INTEROP_REDIS": f"{url}/0",
        "INTEROP_PREFIX": f"{uuid4().hex}:",
        "INTEROP_JOURNAL": str(folder / "journal"),
        "TASKQ_VISIBILITY_TIMEOUT": "2",
    }
    for package in PACKAGES:
        loading.write_project(package, folder / package)
    with pytest.MonkeyPatch.context() as patch:
        sides = {}
        for package, backend in ((CELERY, "taskq+redis"), (OURS, "redis")):
            environment["INTEROP_RESULTS"] = f"{backend}{url.removeprefix('redis')}/0"
            for name, value in environment.items():
                patch.setenv(name, value)
            sides[package] = loading.load(folder / package, MODULE)
        made = Warehouse(folder, environment, sides, [])
        for package, name in ((CELERY, "taskq+redis"), (OURS, "redis")):
            environment["INTEROP_RESULTS"] = f"{name}{url.removeprefix('redis')}/0"
            made.worker(package, f"{QUEUES[package]},both", package)
        for queue in QUEUES.values():
            assert get(sides[OURS].add.apply_async((1, 2), queue=queue)) == 3
        yield made
        made.stop()
        sides[CELERY].app.backend._taskq.close()
        for side in sides.values():
            side.app.close()


def get(result: Any, **options: Any) -> Any:
    return result.get(timeout=SECONDS, interval=0.02, **options)


@pytest.mark.parametrize("caller", PACKAGES)
def test_workflows_go_through_workers_of_both(warehouse: Warehouse, caller: str) -> None:
    side = warehouse.sides[caller]
    queues = [tuple(QUEUES.values()), tuple(reversed(QUEUES.values()))]
    started = [(flow.apply_async(), value) for order in queues for flow, value in side.workflows(order)]
    for result, value in started:
        assert get(result) == value


@pytest.mark.parametrize("served_by", PACKAGES)
@pytest.mark.parametrize("caller", PACKAGES)
def test_calls_run_on_the_worker_of_the_other_as_on_its_own(warehouse: Warehouse, caller: str, served_by: str) -> None:
    side, queue = warehouse.sides[caller], QUEUES[served_by]
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
    until(lambda: expired.state == "REVOKED", "the expired call to be revoked", SECONDS)
    *_, ran_at = get(late)
    assert 1.5 <= ran_at - begun <= SECONDS  # a sweep of Celery's takes 100 s to come


def test_every_call_ends_exactly_once_on_the_queue_of_both(warehouse: Warehouse) -> None:
    sent: dict[str, int] = {}
    for _ in range(10):
        started = [(side.once.delay(number), number) for number in range(30) for side in warehouse.sides.values()]
        for result, number in started:
            assert get(result) == number
            sent[result.id] = number
        runs = warehouse.journal("once")
        if {worker for worker, *_ in runs} == set(PACKAGES):
            break
    assert {worker for worker, *_ in runs} == set(PACKAGES), "one of the workers has run nothing"
    assert Counter(task_id for _, task_id, _ in runs) == Counter(list(sent))


def test_revoked_call_does_not_run_here(warehouse: Warehouse) -> None:
    """Ours revokes by a record in the result store."""
    result = warehouse.sides[CELERY].about.apply_async(queue=QUEUES[OURS], countdown=2)
    warehouse.sides[OURS].app.control.revoke(result.id)
    with pytest.raises(Exception, match="revoked"):
        get(result)


def test_message_of_a_killed_worker_ends_once_on_celerys(warehouse: Warehouse, tmp_path: Path) -> None:
    celery = warehouse.sides[CELERY]
    worker = warehouse.worker(OURS, "killed", "killed")
    result = celery.held.apply_async((str(tmp_path / "stops"),), queue="killed")
    until(lambda: warehouse.journal("begun"), "the run to begin", SECONDS)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    warehouse.processes.remove(worker)

    [answer] = celery.app.control.add_consumer("killed", destination=[f"{CELERY}@test"], reply=True, timeout=SECONDS)
    assert "ok" in answer[f"{CELERY}@test"]
    until(lambda: len(warehouse.journal("begun")) == 2, "the second run to begin", SECONDS)
    (tmp_path / "stops").touch()
    assert get(result) == CELERY
    assert [worker for worker, _ in warehouse.journal("ended")] == [CELERY]
    assert celery.app.control.inspect(timeout=SECONDS, limit=1).ping() == {f"{CELERY}@test": {"ok": "pong"}}


def test_messages_are_all_gone_at_the_end(warehouse: Warehouse) -> None:
    options = {"global_keyprefix": warehouse.environment["INTEROP_PREFIX"]}
    broker = CeleryRedisBroker([warehouse.environment["INTEROP_REDIS"]], options)
    with driving("sync", broker.services) as run:

        def are_gone() -> bool:
            return all(run(broker.depth(queue)) == Depth(0, 0, 0) for queue in (*QUEUES.values(), "both", "killed"))

        until(are_gone, "all messages to be settled", SECONDS)
        assert run(broker.depth("both-dead")) == Depth(0, 0, 0)
    assert [process.poll() for process in warehouse.processes] == [None, None]
