"""Results under Celery's names, for code that was written for Celery: how they are made, read and passed on."""

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
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.testing import run_tasks
from tests.arithmetic import make_app


@pytest.fixture
def app() -> Iterator[TaskQ]:
    app = make_app()

    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("bad")

    yield app
    app.close()


def ended(app: TaskQ, result: Any) -> Any:
    run_tasks(app)
    return result


# -- making results


def test_every_exported_name_exists() -> None:
    assert sorted(taskq_cloud.__all__) == sorted(set(taskq_cloud.__all__))
    assert all(hasattr(taskq_cloud, name) for name in taskq_cloud.__all__)


def test_application_is_taken_by_either_name(app: TaskQ) -> None:
    result = ended(app, app.tasks["add"].delay(1, 2))
    for same in (AsyncResult(result.id, app=app), AsyncResult(result.id, app), app.AsyncResult(result.id)):
        assert (same.get(timeout=0), same) == (3, result)
    assert AsyncResult(result.id, app, "add", parent=result).parent == result


async def test_result_without_an_application_is_refused(app: TaskQ) -> None:
    written = app.tasks["add"].delay(1, 2).as_tuple()
    with pytest.raises(TypeError, match=r"^AsyncResult\('a'\) doesn't belong to .*: write AsyncResult\('a', app=app\)"):
        AsyncResult("a")
    with pytest.raises(TypeError, match=r"write GroupResult.restore\('g', app=app\)"):
        GroupResult.restore("g")
    with pytest.raises(TypeError, match=r"write GroupResult.arestore\('g', app=app\)"):
        await GroupResult.arestore("g")
    with pytest.raises(TypeError, match="doesn't belong to an application"):
        result_from_tuple(written)
    with pytest.raises(ValueError, match="the id of a result must be a text"):
        AsyncResult(None, app=app)  # type: ignore[arg-type]


def test_set_takes_the_application_of_its_results(app: TaskQ) -> None:
    add = app.tasks["add"]
    first, second = add.delay(1, 1), add.delay(2, 2)
    run_tasks(app)
    assert ResultSet([first, second]).get(timeout=0) == app.ResultSet([first, second]).get(timeout=0) == [2, 4]
    of_groups = ResultSet([GroupResult("g", []), GroupResult("h", [first])])
    of_groups.add(second)
    assert of_groups.get(timeout=0) == [[], [2], 4]


async def test_saved_group_is_restored_in_each_way(app: TaskQ) -> None:
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


def test_result_is_made_of_its_tuple(app: TaskQ) -> None:
    add = app.tasks["add"]
    result: Any = chain(add.s(1, 1), group(add.s(1), chain(add.s(2), add.s(3)))).delay()
    for written in (result.as_tuple(), json.loads(json.dumps(result.as_tuple()))):
        again: Any = result_from_tuple(written, app=app)
        assert (again, again.parent, again[1].parent) == (result, result.parent, result[1].parent)
        assert result_from_tuple(again) is again
    assert result_from_tuple(["some-id", None], app) == app.AsyncResult("some-id")


def test_chunks_and_maps_have_the_values_of_their_items(app: TaskQ) -> None:
    add, total = app.tasks["add"], app.tasks["total"]
    results = [
        chunks(add.s(), [(1, 1), (2, 2), (3, 3)], 2).delay(),
        chunks(add, [(1, 1), (2, 2), (3, 3)], 2).group().delay(),
        xmap(total.s(), [[1, 2], [3]]).delay(),
        xstarmap(add, [(1, 2), (3, 4)]).delay(),
    ]
    run_tasks(app)
    assert [each.get(timeout=0) for each in results] == [[[2, 4], [6]], [[2, 4], [6]], [3, 3], [3, 7]]


# -- waiting inside a task


def test_waiting_inside_a_task_is_refused_unless_allowed(app: TaskQ) -> None:
    done = ended(app, app.tasks["add"].delay(1, 2))

    @app.task(name="waiting")
    def waiting(allowed: bool) -> int:
        if not allowed:
            value: int = app.AsyncResult(done.id).get(timeout=0)
            return value
        with allow_join_result():
            return sum(ResultSet([app.AsyncResult(done.id)]).get(timeout=0))

    refused, allowed = waiting.delay(False), waiting.delay(True)
    run_tasks(app)
    assert allowed.get(timeout=0) == 3
    with pytest.raises(RuntimeError, match="inside a task"):
        refused.get(timeout=0)


# -- reading results


def test_get_takes_its_arguments_in_celerys_order(app: TaskQ) -> None:
    called: list[Any] = []
    good, bad = app.tasks["add"].delay(1, 2), app.tasks["fail"].delay()
    run_tasks(app)
    assert good.get(0, True, 0.1, True, True, lambda *found: called.append(found)) == 3
    assert good.wait(timeout=0, callback=lambda *found: called.append(found)) == 3
    assert isinstance(bad.get(0, False), ValueError)
    with pytest.raises(ValueError, match="bad"):
        bad.get(0, callback=lambda *found: called.append(found))
    assert called == [(good.id, 3)] * 2
    sides = ResultSet([good, bad])
    assert sides.get(0, False, 0.1, lambda *found: called.append(found)) == []
    assert [found[0] for found in called[2:]] == [good.id, bad.id]
    assert sides.join_native(0, False)[0] == 3
    in_place = app.tasks["add"].apply((1, 2))
    assert (in_place.get(0, True), in_place.wait(callback=lambda *found: called.append(found))) == (3, 3)
    assert called[-1] == (in_place.id, 3)


@pytest.mark.parametrize("make", [lambda result: result, lambda result: ResultSet([result])])
def test_on_message_is_refused(app: TaskQ, make: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="on_message"):
        make(app.tasks["add"].delay(1, 2)).get(on_message=print)


@pytest.mark.parametrize("make", [lambda result: result, lambda result: ResultSet([result])])
def test_on_interval_is_called_after_each_poll(app: TaskQ, make: Any) -> None:
    polls: list[int] = []

    def poll() -> None:
        polls.append(1)
        if len(polls) == 2:
            run_tasks(app)

    assert make(app.tasks["add"].delay(1, 2)).get(timeout=60, on_interval=poll) in (3, [3])
    assert len(polls) == 2


def test_then_calls_back_once_the_end_is_seen(app: TaskQ) -> None:
    seen: list[Any] = []
    good, bad, broken = app.tasks["add"].delay(1, 2), app.tasks["fail"].delay(), app.tasks["add"].delay(3, 4)
    good.then(seen.append)
    bad.then(seen.append)
    broken.then(lambda _: [].pop(), on_error=seen.append)
    assert (good.ready(), seen) == (False, [])
    run_tasks(app)
    assert seen == [], "the end has not been read yet"
    assert (good.state, bad.state, broken.state) == ("SUCCESS", "FAILURE", "SUCCESS")
    assert seen[:2] == [good, bad]
    assert isinstance(seen[2], IndexError)
    good.then(seen.append)
    assert seen[3:] == [good]
    with pytest.raises(IndexError):
        good.then(lambda _: [].pop())
    assert app.tasks["add"].apply((1, 2)).then(seen.append) == seen[-1]


def test_then_of_a_set_calls_back_once_all_have_ended(app: TaskQ) -> None:
    seen: list[Any] = []
    first, second = app.tasks["add"].delay(1, 2), app.tasks["add"].delay(3, 4)
    sides = ResultSet([first, second]).then(seen.append)
    sides.on_ready.then(seen.append)
    run_tasks(app)
    assert (first.get(timeout=0), seen) == (3, [])
    assert (sides.get(timeout=0), seen) == ([3, 7], [sides, sides])
    assert ResultSet(app=app).then(seen.append) is seen[-1]


def test_iter_native_yields_tasks_as_they_end(app: TaskQ) -> None:
    sides = group(app.tasks["add"].s(1, 2), app.tasks["add"].s(3, 4)).delay()
    run_tasks(app)
    found = dict(sides.iter_native(timeout=0))
    assert {task_id: document["result"] for task_id, document in found.items()} == {sides[0].id: 3, sides[1].id: 7}
    waiting = ResultSet([app.tasks["add"].delay(5, 6)]).iter_native(timeout=60, on_interval=lambda: run_tasks(app))
    assert [document["result"] for _, document in waiting] == [11]
    with pytest.raises(TimeoutError, match="1 tasks have not ended after 0 s"):
        list(ResultSet([app.tasks["add"].delay(7, 8)]).iter_native(timeout=0))


async def test_result_reads_the_parts_of_its_record() -> None:
    app = TaskQ("shop", broker="memory://", results="memory://", result_extended=True)

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    result = add.delay(1, y=2)
    assert (result.exists(), result.name, result.retries) == (False, None, None)
    run_tasks(app)
    assert (result.exists(), await result.aexists()) == (True, True)
    assert (result.name, result.args, result.kwargs, result.retries, result.queue) == (
        "add",
        [1],
        {"y": 2},
        0,
        "celery",
    )
    assert str(result.worker).startswith("taskq@")
    assert (result.task_id, result.app, result.supports_native_join) == (result.id, app, True)
    assert (ResultSet([result]).app, ResultSet([result]).supports_native_join) == (app, True)
    assert (str(result), result == result.id, result != "other") == (result.id, True, True)
    app.close()
    await app.aclose()


# -- passing results on


def test_result_that_a_task_returns_is_read_back(app: TaskQ) -> None:
    @app.task(name="start")
    def start() -> Any:
        return group(app.tasks["add"].s(1, 2), app.tasks["add"].s(3, 4)).delay()

    @app.task(name="start_one")
    def start_one() -> Any:
        return app.tasks["add"].delay(5, 6)

    several, one = start.delay(), start_one.delay()
    run_tasks(app)
    assert result_from_tuple(several.get(timeout=0), app).get(timeout=0) == [3, 7]
    assert result_from_tuple(one.get(timeout=0), app=app).get(timeout=0) == 11
    assert one.get(timeout=0)[1] is None
    assert result_from_tuple(start_one.apply().get(), app).id


def test_tuple_of_a_result_has_celerys_form(app: TaskQ) -> None:
    result: Any = chain(app.tasks["add"].s(1, 1), group(app.tasks["add"].s(1), app.tasks["add"].s(2))).delay()
    first, members = ((result.parent.id, None), None), [((each.id, None), None) for each in result]
    assert result.as_tuple() == ((result.id, first), members)
    with pytest.raises(TypeError, match="has no id, by which it could be found later"):
        ResultSet(result.results).as_tuple()


@pytest.mark.parametrize("of_all", [lambda result: result.forget(), lambda result: ResultSet([result]).forget()])
def test_forget_removes_the_results_of_parents_too(app: TaskQ, of_all: Any) -> None:
    add, total = app.tasks["add"], app.tasks["total"]
    result = ended(app, chain(add.s(1, 1), group(add.s(1), add.s(2)), total.s(), add.s(1)).delay())
    ids = [each.id for each in result.everyone()]
    assert [app.AsyncResult(each).state for each in ids] == ["SUCCESS"] * 5
    of_all(result)
    assert [app.AsyncResult(each).state for each in ids] == ["PENDING"] * 5
