"""Workflows whose tasks run partly on Celery's worker and partly on ours, which share a result backend.

Each worker has a queue of its own, so that a test decides which worker runs a task.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

import taskq_cloud
from taskq_cloud import TaskQ
from taskq_cloud.errors import ChordError
from taskq_cloud.testing.waiting import auntil
from tests.worker.serving import serving

pytestmark = pytest.mark.slow

celery_canvas = pytest.importorskip("celery.canvas")


@pytest.fixture
def table(make_table: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> str:
    name = make_table()
    monkeypatch.setenv("INTEROP_TABLE", name)
    monkeypatch.setenv("INTEROP_BACKEND", f"taskq+dynamodb://{name}?key_format=celery")
    return name


@pytest.fixture
def celerys(make_queue: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The queue that Celery's worker serves."""
    name = make_queue("celerys")
    monkeypatch.setenv("INTEROP_CELERY_QUEUE", name)
    return name


class Writer:
    """Writes workflows with Celery's canvas or with ours.

    ``here`` makes a task that runs on our worker, and ``there`` one that runs on Celery's.
    """

    def __init__(self, module: Any, app: Any, here: str, there: str) -> None:
        self.chord, self.chain, self.group = module.chord, module.chain, module.group
        self.here: Callable[..., Any] = lambda name, *args: self._signature(app, name, args, here)
        self.there: Callable[..., Any] = lambda name, *args: self._signature(app, name, args, there)

    def _signature(self, app: Any, name: str, args: Any, queue: str) -> Any:
        return app.signature(f"interop.{name}", args=args).set(queue=queue)


def make_writer(maker: str, celery: Any, app: TaskQ, here: str, there: str) -> Writer:
    if maker == "celery":
        return Writer(celery_canvas, celery, here, there)
    return Writer(taskq_cloud, app, here, there)


def workflows(w: Writer) -> dict[str, tuple[Any, Any]]:
    """The workflows and their values, by name."""
    here, there, chord, chain, group = w.here, w.there, w.chord, w.chain, w.group
    members = [here("add", 1, 1), there("add", 2, 2), here("add", 3, 3), there("add", 4, 4)]
    return {
        "body here": (chord(members, here("total")), 20),
        "body there": (chord(members, there("total")), 20),
        "the workers of the members": (chord([here("where"), there("where")], there("same")), ["here", "celery"]),
        "header in the middle of a chain": (
            chain(there("add", 0, 1), group([here("add", 1), there("add", 2)]), here("total"), there("add", 100)),
            105,
        ),
        "header in the middle of a chain, workers swapped": (
            chain(here("add", 0, 1), group([there("add", 1), here("add", 2)]), there("total"), here("add", 100)),
            105,
        ),
        "members that are chains": (
            chord(
                [chain(there("add", 1, 1), here("add", 1)), chain(here("add", 1, 1), there("add", 2))], there("total")
            ),
            7,
        ),
        "a chord in a header": (
            chord([chord([there("add", 1, 1), here("add", 2, 2)], here("total")), there("add", 1, 1)], here("total")),
            8,
        ),
        "a chord in a header, body there": (
            chord([chord([there("add", 1, 1), here("add", 2, 2)], there("total")), here("add", 1, 1)], there("total")),
            8,
        ),
        "a body that is a chain": (chord(members, chain(there("total"), here("add", 1))), 21),
        "two chords in a row": (
            chain(chord(members, here("total")), group([there("add", 1), here("add", 2)]), there("total")),
            43,
        ),
        "a member that ends in a group": (
            chord(
                [chain(here("add", 1, 1), group([here("add", 1), there("add", 2)])), there("add", 1, 1)], here("same")
            ),
            [[3, 4], 2],
        ),
        "a member that ends in a group, body there": (
            chord(
                [chain(there("add", 1, 1), group([here("add", 1), there("add", 2)])), here("add", 1, 1)], there("same")
            ),
            [[3, 4], 2],
        ),
    }


@pytest.mark.parametrize("maker", ["celery", "here"])
async def test_workflows_across_both_workers_have_their_values(
    maker: str, app: TaskQ, celery: Any, celerys: str, queue: str, celery_worker: subprocess.Popen[bytes]
) -> None:
    writer = make_writer(maker, celery, app, queue, celerys)
    async with serving(app, queues=[queue]):
        started = {name: (each.apply_async(), value) for name, (each, value) in workflows(writer).items()}
        found = {}
        for name, (result, _) in started.items():
            try:
                found[name] = await asyncio.to_thread(result.get, timeout=30, interval=0.1)
            except Exception as error:
                found[name] = error
    assert found == {name: value for name, (_, value) in started.items()}
    assert celery_worker.poll() is None


@pytest.mark.parametrize("maker", ["celery", "here"])
async def test_failures_across_both_workers_reach_the_chords_errbacks(
    maker: str, app: TaskQ, celery: Any, celerys: str, queue: str, celery_worker: subprocess.Popen[bytes]
) -> None:
    w = make_writer(maker, celery, app, queue, celerys)
    told = {name: f"told-{maker}-{name}" for name in ("here", "there", "chain here", "chain there", "nested")}

    def heard(name: str, members: Any, body: Any, note: Any) -> Any:
        return w.chord(members, body.on_error(note.set(task_id=told[name])))

    deep = w.chain(
        w.there("fail", "no"), w.chord([w.here("note"), w.there("note")], w.chain(w.here("same"), w.here("same")))
    )
    broken_here = w.chain(w.here("fail", "no"), w.there("note"))
    broken_there = w.chain(w.there("fail", "no"), w.here("note"))
    failing = {
        "here": heard("here", [w.here("fail", "no"), w.there("add", 1, 1)], w.there("total"), w.here("note")),
        "there": heard("there", [w.there("fail", "no"), w.here("add", 1, 1)], w.here("total"), w.there("note")),
        "chain here": heard("chain here", [broken_here], w.there("total"), w.there("note")),
        "chain there": heard("chain there", [broken_there], w.here("total"), w.here("note")),
        "nested": heard("nested", [deep], w.there("total"), w.there("note")),
    }
    async with serving(app, queues=[queue]):
        results = {name: each.apply_async() for name, each in failing.items()}
        for name, result in results.items():
            with pytest.raises(ChordError, match=r"Dependency .* raised ValueError\('no', 7\)"):
                await app.AsyncResult(result.id).aget(timeout=30)
            assert await app.AsyncResult(told[name]).aget(timeout=30) == ["noted", result.id], name
    assert celery_worker.poll() is None


@pytest.mark.parametrize("maker", ["celery", "here"])
async def test_task_knows_its_place_in_a_workflow_on_both_workers(
    maker: str, app: TaskQ, celery: Any, celerys: str, queue: str, celery_worker: subprocess.Popen[bytes]
) -> None:
    w = make_writer(maker, celery, app, queue, celerys)
    first, second, third = (f"{maker}-{each}" for each in ("first", "second", "third"))
    chained = w.chain(
        w.here("place").set(task_id=first), w.there("place").set(task_id=second), w.here("place").set(task_id=third)
    )
    joined = w.chord([w.there("place"), w.here("place"), w.there("place")], w.there("same"))
    async with serving(app, queues=[queue]):
        sent = [chained.apply_async(), joined.apply_async()]
        places = {each: await app.AsyncResult(each).aget(timeout=30) for each in (first, second, third)}
        members = await asyncio.to_thread(sent[1].get, timeout=30, interval=0.1)
    assert {name: place[:2] for name, place in places.items()} == {
        first: [first, None],
        second: [first, first],
        third: [first, second],
    }
    assert [index for *_, index in members] == [0, 1, 2]
    assert len({group for *_, group, _ in members}) == 1


async def test_chord_with_duplicated_members_keeps_its_value(
    app: TaskQ,
    celery: Any,
    celerys: str,
    queue: str,
    sqs_client: Any,
    request: pytest.FixtureRequest,
) -> None:
    w = Writer(celery_canvas, celery, queue, celerys)
    bodies: list[Any] = []

    @app.task(name="interop.body")
    def body(values: list[int]) -> list[int]:
        bodies.append(values)
        return values

    members = [w.here("add", 1, 0), w.there("add", 2, 0), w.here("add", 3, 0), w.there("add", 4, 0)]
    result = w.chord(members, w.here("body")).apply_async()
    for name in (queue, celerys):
        url = sqs_client.get_queue_url(QueueName=name)["QueueUrl"]
        received = sqs_client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=1)["Messages"]
        assert len(received) == 2
        for message in received:
            sqs_client.send_message(QueueUrl=url, MessageBody=message["Body"])
    celery_worker = request.getfixturevalue("celery_worker")
    async with serving(app, queues=[queue]):
        assert await asyncio.to_thread(result.get, timeout=30, interval=0.1) == [1, 2, 3, 4]

        async def drained() -> bool:
            depths = [await app.arun(app.broker.depth(name)) for name in (queue, celerys)]
            return all(depth is not None and depth.total == 0 for depth in depths)

        await auntil(drained, "all messages to be settled")
    assert bodies and all(each == [1, 2, 3, 4] for each in bodies)
    assert celery_worker.poll() is None
