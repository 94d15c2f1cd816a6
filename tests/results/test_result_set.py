"""The results of several tasks as one: reading, waiting, saving, and wrong input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from taskq_cloud import GroupResult, ResultSet, TaskQ, chain, chord, group
from taskq_cloud.canvas import signature
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import FINAL_VERSION, Record
from taskq_cloud.errors import ImproperlyConfigured, TaskRevokedError
from tests.workflows import make_app


@pytest.fixture
def app() -> Iterator[TaskQ]:
    app = make_app(broker="memory://", results="memory://")
    yield app
    app.close()


def end(app: TaskQ, task_id: str, value: Any) -> None:
    failed = isinstance(value, Exception)
    state = "FAILURE" if failed else "SUCCESS"
    text = document.encode_error(ErrorInfo.of(value)) if failed else str(value)
    payload = document.encode(Message(task="task", id=task_id), state, text, now=0)
    assert app.run(app.store.save([Record(task_id, state, FINAL_VERSION, payload)])) == [True]


def two(app: TaskQ) -> GroupResult:
    task = app.tasks["task"]
    return group(task.s(tag="a"), task.s(tag="b")).apply_async()


def test_group_is_ready_when_all_members_have_ended(app: TaskQ) -> None:
    result = two(app)
    assert (result.ready(), result.waiting(), result.completed_count(), bool(result)) == (False, True, 0, True)
    end(app, result[0].id, 1)
    assert (result.ready(), result.completed_count(), result.states()) == (False, 1, ["SUCCESS", "PENDING"])
    end(app, result[1].id, 2)
    assert (result.ready(), result.successful(), result.failed()) == (True, True, False)
    assert result.get(timeout=0) == result.join(timeout=0) == [1, 2]


async def test_group_result_works_on_an_event_loop(app: TaskQ) -> None:
    task = app.tasks["task"]
    result = await group(task.s(tag="a"), task.s(tag="b")).aapply_async()
    end(app, result[0].id, 1)
    assert await result.astates() == ["SUCCESS", "PENDING"]
    await result.asave()
    assert await GroupResult.arestore(result.id, app) == result
    assert await result.arevoke() == 1
    with pytest.raises(TaskRevokedError):
        await result.aget(timeout=5)
    await result.aforget()
    assert await result.astates() == ["PENDING", "PENDING"]
    await app.aclose()


def test_first_failure_is_raised_or_stands_in_place_of_the_value(app: TaskQ) -> None:
    result = two(app)
    end(app, result[1].id, ValueError("bad"))
    assert result.failed()
    with pytest.raises(ValueError, match="bad"):
        result.get(timeout=5)
    with pytest.raises(ValueError, match="bad"):
        result.maybe_throw()
    end(app, result[0].id, 1)
    value, error = result.get(timeout=5, propagate=False)
    assert (value, str(error)) == (1, "bad")


def test_timeout_error_names_how_many_tasks_are_missing(app: TaskQ) -> None:
    result = two(app)
    end(app, result[0].id, 1)
    with pytest.raises(TimeoutError, match=f"1 of 2 tasks have not ended after 0 s, for example {result[1].id}"):
        result.get(timeout=0)


def test_revoke_and_forget_reach_all_members(app: TaskQ) -> None:
    result = two(app)
    end(app, result[0].id, 1)
    assert result.revoke() == 1
    assert result.states() == ["SUCCESS", "REVOKED"]
    result.forget()
    assert result.states() == ["PENDING", "PENDING"]


def test_saved_group_is_restored_with_its_parents(app: TaskQ) -> None:
    task = app.tasks["task"]
    line = chain(
        task.s(tag="a"), group(task.s(tag="b"), chain(task.s(tag="c"), group(task.s(tag="d"), task.s(tag="e"))))
    )
    result: Any = line.apply_async()
    assert [type(each) for each in result] == [type(result[0]), GroupResult]
    restored = app.GroupResult(result.save().id)
    assert restored == result
    assert restored.parent == result.parent
    assert [leaf.id for leaf in restored.leaves()] == [leaf.id for leaf in result.leaves()]
    result.delete()
    with pytest.raises(KeyError, match=f"group {result.id} was not saved"):
        app.GroupResult(result.id)


@pytest.mark.parametrize("size", [0, 1, 2000, 2001, 4001])
def test_large_group_is_saved_in_pages(app: TaskQ, size: int) -> None:
    result = GroupResult(f"g{size}", [app.AsyncResult(str(number)) for number in range(size)], app=app)
    assert app.GroupResult(result.save().id) == result


def test_empty_group_is_ready(app: TaskQ) -> None:
    result = signature(group(), app=app).apply_async()
    assert (result.get(timeout=0), result.ready(), len(result), bool(result)) == ([], True, 0, True)


@pytest.mark.parametrize("empty", [group(), group([]), chain(group([])), group(chain(), chain()), group(group([]))])
async def test_empty_group_needs_no_application(empty: Any) -> None:
    results: Any = (empty.delay(), empty.apply_async(), await empty.adelay(), empty.apply())
    for result in results:
        assert isinstance(result, GroupResult)
        assert (result.get(), await result.aget(), result.join(timeout=0), list(result)) == ([], [], [], [])
        assert (result.ready(), result.successful(), result.failed(), result.waiting()) == (True, True, False, False)
        result.forget()
        assert (result.revoke(), result.completed_count(), bool(result)) == (0, 0, True)
        with pytest.raises(RuntimeError, match="doesn't belong to an application: make it with app="):
            result.save()


async def test_empty_chain_has_no_result() -> None:
    assert (chain().delay(), await chain([]).adelay(), chain().apply()) == (None, None, None)


def test_group_of_an_empty_generator_is_empty(app: TaskQ) -> None:
    task = app.tasks["task"]
    assert group(task.s(tag=tag) for tag in "").delay().get() == []
    assert (ResultSet().get(), group().set(task_id="g").delay().id) == ([], "g")


def test_results_are_added_to_and_removed_from_a_set(app: TaskQ) -> None:
    results = ResultSet([], app)
    first, second = app.AsyncResult("1"), app.AsyncResult("2")
    results.update([first, second, first])
    assert list(results) == [first, second]
    results.remove(first)
    results.discard(first)
    with pytest.raises(KeyError):
        results.remove(first)
    assert list(results) == [second]
    results.clear()
    assert len(results) == 0


def test_parents_lead_back_to_the_first_task(app: TaskQ) -> None:
    task = app.tasks["task"]
    workflow = chain(task.s(tag="a"), chord([task.s(tag="b"), task.s(tag="c")], task.s(tag="d")))
    result = workflow.apply_async()
    header = result.parent
    assert isinstance(header, GroupResult)
    assert len(header) == 2
    assert header.parent is not None
    assert header.parent.parent is None


def test_get_without_a_result_store_is_refused() -> None:
    app = make_app(broker="memory://", results="disabled://")
    result = group(app.tasks["task"].s(tag="a")).apply_async()
    with pytest.raises(ImproperlyConfigured, match="no result store is configured"):
        result.get(timeout=1)
    app.close()
