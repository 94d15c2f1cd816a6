"""Components of a worker: their start, their end, their health, and what they do to the worker."""

from __future__ import annotations

import asyncio
from http.client import HTTPConnection
from pathlib import Path

import pytest

from taskq_cloud import Component, TaskQ
from taskq_cloud.errors import ComponentError, ImproperlyConfigured
from taskq_cloud.hooks import RunningWorker
from taskq_cloud.pools.threads import ThreadPool
from taskq_cloud.worker import components as worker_components
from taskq_cloud.worker.options import WorkerOptions
from taskq_cloud.worker.supervisor import Worker
from tests.worker.commands import Command
from tests.worker.serving import serving


class Noting(Component):
    """Records its start and its stop."""

    def __init__(self, name: str, notes: list[str], *requires: str) -> None:
        self.name = name
        self.requires = requires
        self.notes = notes
        self.wrong: str | None = None

    def start(self, worker: RunningWorker) -> None:
        self.notes.append(f"{self.name} starts")

    def stop(self, worker: RunningWorker) -> None:
        self.notes.append(f"{self.name} stops")

    def health(self) -> str | None:
        return self.wrong


class Waiting(Noting):
    async def start(self, worker: RunningWorker) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().start(worker)

    async def stop(self, worker: RunningWorker) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().stop(worker)


@pytest.fixture
def notes() -> list[str]:
    return []


async def test_components_start_before_the_first_message_and_stop_after_the_last(app: TaskQ, notes: list[str]) -> None:
    app.add_component(Noting("b", notes, "a"))
    app.add_component(Waiting("a", notes))

    @app.task(name="note")
    def note() -> None:
        notes.append("task")

    await note.adelay()
    result = await note.adelay()
    async with serving(app, concurrency=1):
        await result.aget(timeout=10)
    assert notes == ["a starts", "b starts", "task", "task", "b stops", "a stops"]


async def test_worker_ends_if_a_component_can_t_start_and_stops_the_others(app: TaskQ, notes: list[str]) -> None:
    class Wrong(Noting):
        def start(self, worker: RunningWorker) -> None:
            raise OSError("port 80 is taken")

    for each in (Noting("a", notes), Wrong("b", notes, "a"), Noting("c", notes, "b")):
        app.add_component(each)
    with pytest.raises(ComponentError, match="'b' could not start, so the worker ends: OSError: port 80 is taken"):
        async with asyncio.timeout(20):
            await Worker(app.runtime(), WorkerOptions.from_settings(app.conf, app.queues(), pool="threads")).serve()
    assert notes == ["a starts", "a stops"]


async def test_error_at_the_stop_keeps_no_other_component_from_it(
    app: TaskQ, notes: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(Noting):
        def stop(self, worker: RunningWorker) -> None:
            raise OSError("already closed")

    for each in (Noting("a", notes), Wrong("b", notes, "a")):
        app.add_component(each)
    async with serving(app):
        pass
    assert notes[-1] == "a stops"
    assert "component b has not stopped in order" in caplog.text


async def test_component_that_hangs_at_its_stop_is_left_behind(
    app: TaskQ, notes: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(Noting):
        async def stop(self, worker: RunningWorker) -> None:  # type: ignore[override]
            await asyncio.Event().wait()

    monkeypatch.setattr(worker_components, "STOP_SECONDS", 0.2)
    for each in (Noting("a", notes), Hanging("b", notes, "a")):
        app.add_component(each)
    async with serving(app):
        pass
    assert notes[-1] == "a stops"
    assert [vars(each)["component"] for each in caplog.records if "component" in vars(each)] == ["b"]


async def test_worker_that_is_stopped_while_a_component_starts_ends(app: TaskQ, notes: list[str]) -> None:
    begun = asyncio.Event()

    class Hanging(Noting):
        async def start(self, worker: RunningWorker) -> None:  # type: ignore[override]
            begun.set()
            await asyncio.Event().wait()

    for each in (Noting("a", notes), Hanging("b", notes, "a")):
        app.add_component(each)
    async with serving(app):
        await begun.wait()
    assert notes == ["a starts", "a stops"]


async def test_health_includes_each_component(app: TaskQ, notes: list[str]) -> None:
    class Raising(Noting):
        def health(self) -> str | None:
            raise KeyError("gone")

    fine, failing = Noting("fine", notes), Noting("failing", notes)
    app.add_component(fine)
    app.add_component(failing)
    async with serving(app) as worker:
        healthy, body = worker.health()
        assert (healthy, body["status"]) == (True, "ok")
        assert body["components"] == {name: {"healthy": True, "error": None} for name in ("fine", "failing")}
        failing.wrong = "no connection"
        healthy, body = worker.health()
        assert (healthy, body["status"]) == (False, "failing")
        assert body["components"]["failing"] == {"healthy": False, "error": "no connection"}
        assert body["components"]["fine"] == {"healthy": True, "error": None}
    app.add_component(Raising("raising", notes))
    async with serving(app) as worker:
        assert worker.health()[1]["components"]["raising"]["error"] == "KeyError: 'gone'"


async def test_component_can_stop_the_worker(app: TaskQ) -> None:
    class Ending(Component):
        def start(self, worker: RunningWorker) -> None:
            worker.stop()

    app.add_component(Ending())
    async with serving(app) as worker:
        await worker._stopping.wait()


async def test_components_are_stopped_though_the_pool_fails_to(
    app: TaskQ, notes: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: ThreadPool) -> None:
        raise OSError("no such process")

    monkeypatch.setattr(ThreadPool, "stop", fail)
    app.add_component(Noting("a", notes))
    with pytest.raises(OSError, match="no such process"):
        async with serving(app):
            pass
    assert notes == ["a starts", "a stops"]
    assert "the pool could not be ended" in caplog.text


async def test_error_that_ends_the_worker_is_not_replaced_by_one_of_its_end(
    app: TaskQ, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: ThreadPool) -> None:
        raise RuntimeError("no threads")

    async def fail(_: ThreadPool) -> None:
        raise OSError("no such process")

    monkeypatch.setattr(ThreadPool, "start", refuse)
    monkeypatch.setattr(ThreadPool, "stop", fail)
    app.add_component(Noting("a", notes))
    with pytest.raises(RuntimeError, match="no threads"):
        async with serving(app):
            pass
    assert notes == ["a starts", "a stops"]


async def test_component_that_exits_is_one_that_fails(app: TaskQ, notes: list[str]) -> None:
    class Exits(Component):
        async def start(self, worker: RunningWorker) -> None:
            raise SystemExit(4)

    app.add_component(Noting("a", notes))
    app.add_component(Exits())
    with pytest.raises(ComponentError, match="component 'Exits' could not start, so the worker ends: SystemExit: 4"):
        async with serving(app):
            pass
    assert notes == ["a starts", "a stops"]


async def test_one_component_need_not_be_in_a_list(notes: list[str]) -> None:
    app = TaskQ("tests", broker="memory://", results="memory://", components=Noting("a", notes))
    async with serving(app):
        pass
    assert notes == ["a starts", "a stops"]


@pytest.mark.parametrize("given", [Noting, None, 7])
def test_object_that_is_no_component_is_an_error(given: object) -> None:
    with pytest.raises(ImproperlyConfigured, match="a component is an object of a subclass of Component"):
        TaskQ("tests", components=given)


async def test_worker_without_components_has_none_in_its_health(app: TaskQ) -> None:
    async with serving(app) as worker:
        assert "components" not in worker.health()[1]


async def test_requirement_that_is_missing_keeps_the_worker_from_starting(app: TaskQ, notes: list[str]) -> None:
    app.add_component(Noting("a", notes, "b"))
    with pytest.raises(ImproperlyConfigured, match="component 'a' requires 'b'"):
        async with serving(app):
            pass


APP = """
from taskq_cloud import Component, TaskQ

class Metrics(Component):
    name = "metrics"
    requires = ("database",)

class Database(Component):
    name = "database"

    def start(self, worker):
        if worker.options.burst:
            raise OSError("no route to the database")

    def health(self):
        return "replica lag"

app = TaskQ("shop", wait_time_seconds=0.2, components=[Metrics(), Database()])

@app.task(name="add")
def add(x, y):
    return x + y
"""


@pytest.mark.slow
def test_command_lists_components_and_names_the_one_that_can_t_start(folder: Path) -> None:
    with Command(folder, "worker", "-A", "shop", "--components") as listing:
        assert listing.code() == 0
        assert listing.log.splitlines() == ["database", "metrics (requires database)"]
    with Command(folder, "worker", "-A", "shop", "--burst", "-c", "1") as worker:
        assert worker.code() == 1
        assert worker.log.splitlines()[-1] == (
            "Error: component 'database' could not start, so the worker ends: OSError: no route to the database"
        )


@pytest.mark.slow
def test_health_endpoint_answers_503_if_a_component_is_not_healthy(folder: Path, unused_tcp_port: int) -> None:
    with Command(folder, "worker", "-A", "shop", "-P", "threads", "--health-port", str(unused_tcp_port)) as worker:
        worker.ready()
        connection = HTTPConnection("localhost", unused_tcp_port, timeout=10)
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        assert answer.status == 503
        assert b'"database": {"healthy": false, "error": "replica lag"}' in answer.read()
        connection.close()
        assert worker.end() == 0
