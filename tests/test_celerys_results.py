"""Celery's names for results: how they are made, asked and handed on, for code that was written for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import taskq_cloud
from taskq_cloud import (
    AsyncResult,
    GroupResult,
    ResultSet,
    TaskQ,
    allow_join_result,
    chain,
    chunks,
    group,
    result_from_tuple,
    xmap,
    xstarmap,
)
from tests.in_this_process import work


@pytest.fixture
def app() -> Iterator[TaskQ]:
    app = TaskQ("shop", broker="memory://", results="memory://")

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="total")
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("bad")

    yield app
    app.close()


def ended(app: TaskQ, result: Any) -> Any:
    work(app)
    return result


# -- making them


def test_every_name_that_is_exported_is_there() -> None:
    assert sorted(taskq_cloud.__all__) == sorted(set(taskq_cloud.__all__))
    assert all(hasattr(taskq_cloud, name) for name in taskq_cloud.__all__)


def test_an_application_is_given_by_either_name(app: TaskQ) -> None:
    result = ended(app, app.tasks["add"].delay(1, 2))
    for same in (AsyncResult(result.id, app=app), AsyncResult(result.id, app), app.AsyncResult(result.id)):
        assert (same.get(timeout=0), same) == (3, result)
    assert AsyncResult(result.id, app, "add", parent=result).parent == result


async def test_there_is_no_current_application(app: TaskQ) -> None:
    written = app.tasks["add"].delay(1, 2).as_tuple()
    with pytest.raises(TypeError, match=r"^AsyncResult\('a'\) belongs to .*: write AsyncResult\('a', app=app\)"):
        AsyncResult("a")
    with pytest.raises(TypeError, match=r"write GroupResult.restore\('g', app=app\)"):
        GroupResult.restore("g")
    with pytest.raises(TypeError, match=r"write GroupResult.arestore\('g', app=app\)"):
        await GroupResult.arestore("g")
    with pytest.raises(TypeError, match="belongs to no application"):
        result_from_tuple(written)
    with pytest.raises(ValueError, match="takes a task's id, not None"):
        AsyncResult(None, app=app)  # type: ignore[arg-type]


def test_a_set_has_the_application_of_its_results(app: TaskQ) -> None:
    add = app.tasks["add"]
    first, second = add.delay(1, 1), add.delay(2, 2)
    work(app)
    assert ResultSet([first, second]).get(timeout=0) == app.ResultSet([first, second]).get(timeout=0) == [2, 4]
    of_groups = ResultSet([GroupResult("g", []), GroupResult("h", [first])])
    of_groups.add(second)
    assert of_groups.get(timeout=0) == [[], [2], 4]


async def test_a_saved_group(app: TaskQ) -> None:
    result = ended(app, group(app.tasks["add"].s(1, 1), app.tasks["add"].s(2, 2)).delay())
    assert app.GroupResult.restore(result.id) is None
    result.save()
    restored = [
        app.GroupResult.restore(result.id),
        GroupResult.restore(result.id, app=app),
        GroupResult.restore(result.id, app),
        await GroupResult.arestore(result.id, app=app),
        await app.GroupResult.arestore(result.id),
        app.GroupResult(result.id),
    ]
    assert restored == [result] * 6
    assert app.GroupResult("g", result.results).get(timeout=0) == [2, 4]
    await app.aclose()


def test_out_of_a_tuple(app: TaskQ) -> None:
    add = app.tasks["add"]
    result = chain(add.s(1, 1), group(add.s(1), chain(add.s(2), add.s(3)))).delay()
    for written in (result.as_tuple(), json.loads(json.dumps(result.as_tuple()))):
        again = result_from_tuple(written, app=app)
        assert (again, again.parent, again[1].parent) == (result, result.parent, result[1].parent)
        assert result_from_tuple(again) is again
    assert result_from_tuple(["some-id", None], app) == app.AsyncResult("some-id")


def test_chunks_and_maps(app: TaskQ) -> None:
    add, total = app.tasks["add"], app.tasks["total"]
    results = [
        chunks(add.s(), [(1, 1), (2, 2), (3, 3)], 2).delay(),
        chunks(add, [(1, 1), (2, 2), (3, 3)], 2).group().delay(),
        xmap(total.s(), [[1, 2], [3]]).delay(),
        xstarmap(add, [(1, 2), (3, 4)]).delay(),
    ]
    work(app)
    assert [each.get(timeout=0) for each in results] == [[[2, 4], [6]], [[2, 4], [6]], [3, 3], [3, 7]]


# -- waiting inside a task


def test_waiting_inside_a_task_where_it_is_allowed(app: TaskQ) -> None:
    done = ended(app, app.tasks["add"].delay(1, 2))

    @app.task(name="waiting")
    def waiting(allowed: bool) -> int:
        if not allowed:
            return app.AsyncResult(done.id).get(timeout=0)
        with allow_join_result():
            return sum(ResultSet([app.AsyncResult(done.id)]).get(timeout=0))

    refused, allowed = waiting.delay(False), waiting.delay(True)
    work(app)
    assert allowed.get(timeout=0) == 3
    with pytest.raises(RuntimeError, match="inside a task"):
        refused.get(timeout=0)
