"""Members of a chord's header whose ids were given: if there are many, the result store keeps the list."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator
from typing import Any

import pytest

from taskq_cloud import ChordError, TaskQ, chord
from taskq_cloud.core.model.message import lineage_of
from taskq_cloud.core.workflows import group_pages, saved_groups
from taskq_cloud.core.workflows.planner import MOST_OWN_IDS
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.testing.bench import Bench
from taskq_cloud.testing.clock import FakeClock
from tests.chaos import serve

MANY = 300


@pytest.fixture(params=[1_000, 50], ids=["at-once", "in-pages"])
def app(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[TaskQ]:
    caplog.set_level(logging.CRITICAL, "taskq_cloud.execution")
    app = TaskQ("own", broker="memory://", results="memory://", task_fan_out_members=request.param)

    @app.task(name="same")
    def same(value: Any) -> Any:
        if value == "fail":
            raise ValueError(value)
        return value

    yield app
    app.close()


@pytest.fixture
def bench(app: TaskQ) -> Bench:
    return Bench.of(app)


def header(app: TaskQ, *values: Any) -> list[Any]:
    return [app.tasks["same"].si(value).set(task_id=f"member-{place}") for place, value in enumerate(values)]


@pytest.mark.parametrize("size", [MOST_OWN_IDS, MANY])
def test_body_gets_values_of_members_in_order(app: TaskQ, bench: Bench, size: int) -> None:
    result = chord(header(app, *range(size)), app.tasks["same"].s()).delay()
    serve(bench, 0.1, random.Random(7))
    assert result.get(timeout=1) == list(range(size))
    assert app.AsyncResult("member-3").get(timeout=1) == 3


@pytest.mark.parametrize("size", [2, MANY])
def test_chord_that_is_body_of_chord_with_given_ids(app: TaskQ, bench: Bench, size: int) -> None:
    same = app.tasks["same"]
    result = chord(header(app, *range(size)), chord([same.s(), same.s()], same.s())).delay()
    serve(bench, 0.1, random.Random(7))
    assert result.get(timeout=1) == [list(range(size))] * 2


def test_failed_member_fails_body_with_its_id(app: TaskQ, bench: Bench) -> None:
    result = chord(header(app, *range(MANY), "fail"), app.tasks["same"].s()).delay()
    serve(bench)
    with pytest.raises(ChordError, match=f"member-{MANY} raised ValueError"):
        result.get(timeout=1)


def test_message_does_not_grow_with_the_number_of_given_ids(app: TaskQ) -> None:
    if app.conf.task_fan_out_members < MANY:
        pytest.skip("for members that are sent at once")
    sizes = {}
    for size in (MOST_OWN_IDS + 1, MANY):
        chord(header(app, *range(size)), app.tasks["same"].s()).delay()
        received = [app.run(app.broker.receive("celery", 10, 0, 30)) for _ in range(size // 10 + 1)]
        sizes[size] = max(len(each.body) for batch in received for each in batch)
        app.run(app.broker.purge("celery"))
    assert sizes[MANY] < sizes[MOST_OWN_IDS + 1] + 10


def test_members_of_a_lost_page_fail(app: TaskQ, bench: Bench) -> None:
    result = chord(header(app, *range(60)), app.tasks["same"].s()).delay()
    (first, *_) = app.run(app.broker.receive("celery", 1, 0, 5))
    if app.conf.task_fan_out_members > 60:
        assert "fan_out" not in first.body
        pytest.skip("for groups in pages")
    document = json.loads(first.body)
    _, kwargs, _ = json.loads(document["body"])
    app.run(app.store.delete([group_pages.record_id(lineage_of(kwargs["group"], document["headers"]), 0)]))
    bench.clock.advance(10)
    serve(bench)
    assert app.AsyncResult("member-59").state == "FAILURE"
    with pytest.raises(ChordError, match="member-0 raised DecodeError"):
        result.get(timeout=1)


def test_saved_group_is_stored_in_pages() -> None:
    clock = FakeClock()
    pages = saved_groups.pages_of_tasks("g", map(str, range(saved_groups.PAGE_MEMBERS + 1)), due=clock())
    records, group = [page.record(clock()) for page in pages], pages[0].group
    assert [record.id for record in records] == ["taskset-g", "taskset-g-1"]
    store = MemoryResults(clock)
    app = TaskQ("own", broker="memory://", results="memory://")
    app.run(store.save(records))
    assert app.run(saved_groups.load(store, "g")) == group
