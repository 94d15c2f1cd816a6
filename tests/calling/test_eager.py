"""Running in place: the exception that was raised, the request's ids, waiting inside a task, and an untouched store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from taskq_cloud import BoundTask, TaskQ, chain, chord, errors, group
from taskq_cloud.core.flows import Flow
from taskq_cloud.errors import ChordError, Ignore, MaxRetriesExceededError
from taskq_cloud.testing import run_tasks
from taskq_cloud.testing.bench import Bench


class Declined(Exception):
    """An exception that can't be made anew from its arguments, and has an attribute of its own."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> TaskQ:
    """An application whose result store must not be used."""
    app = TaskQ("shop", broker="memory://", results="memory://", task_always_eager=True)

    def refuse(*_: object) -> Flow[Any]:
        raise AssertionError("a run in place has used the result store")

    for name in ("save", "delete", "load"):
        monkeypatch.setattr(app.store, name, refuse)

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="total")
    def total(numbers: Sequence[int]) -> int:
        return sum(numbers)

    @app.task(name="ids", bind=True)
    def ids(self: Any, before: Sequence[Any] = ()) -> list[Any]:
        seen = self.request
        return [*before, [seen.id, seen.root_id, seen.parent_id, seen.group, seen.group_index]]

    return app


RAISED = Declined(5, reason="no funds")


def decline(*_: object) -> None:
    raise RAISED


async def adecline(*_: object) -> None:
    raise RAISED


def retry(self: Any) -> None:
    self.retry(exc=RAISED, countdown=0)


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (decline, {}),
        (adecline, {}),
        (decline, {"throws": (Declined,)}),
        (decline, {"autoretry_for": (Declined,), "retry_backoff": True, "max_retries": 2}),
        (retry, {"bind": True, "max_retries": 2}),
    ],
    ids=["plain", "async", "expected", "retried automatically", "retried"],
)
def test_exception_of_an_eager_task_is_the_one_that_was_raised(
    app: TaskQ, function: Callable[..., Any], options: dict[str, Any]
) -> None:
    decorate: Any = app.task
    task = decorate(name="decline", **options)(function)
    result = task.delay()
    assert (result.state, result.result) == ("FAILURE", RAISED)
    assert "no funds" in str(result.traceback)
    with pytest.raises(Declined) as caught:
        result.get()
    assert caught.value is RAISED
    assert asyncio.run(outcome_of(result)) is RAISED


async def outcome_of(result: Any) -> Any:
    return await result.aget(propagate=False)


async def test_exception_of_an_eager_task_on_an_event_loop_is_the_one_that_was_raised(app: TaskQ) -> None:
    task: Any = app.task(name="decline")(adecline)
    assert (await task.adelay()).result is RAISED


def test_call_raises_the_exception_itself_if_errors_propagate() -> None:
    app = TaskQ("shop", broker="memory://", task_always_eager=True, task_eager_propagates=True)
    task: Any = app.task(name="decline")(decline)
    with pytest.raises(Declined) as caught:
        task.delay()
    assert caught.value is RAISED


def test_errback_gets_the_exception_itself(app: TaskQ) -> None:
    got: list[Any] = []

    @app.task(name="note")
    def note(request: Any, exc: Exception, traceback: str) -> None:
        got.append((request.id, exc))

    task: Any = app.task(name="decline")(decline)
    result = task.apply_async(link_error=note.s())
    assert got == [(result.id, RAISED)]


def test_errback_of_an_ignored_task_is_not_called(app: TaskQ) -> None:
    called: list[str] = []

    @app.task(name="note")
    def note(task_id: str) -> None:
        called.append(task_id)

    @app.task(name="ignored")
    def ignored() -> None:
        raise Ignore

    assert ignored.apply_async(link_error=note.s()).state == "IGNORED"
    assert called == []


def test_exhausted_retries_without_an_exception_are_their_own_error(app: TaskQ) -> None:
    @app.task(name="again", bind=True, max_retries=1)
    def again(self: Any) -> None:
        self.retry(countdown=0)

    with pytest.raises(MaxRetriesExceededError):
        again.delay().get()


class Unshowable(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")


@pytest.mark.parametrize("where", ["sent", "in place"])
def test_exception_that_can_not_be_shown_is_retried_and_fails_its_chord(where: str) -> None:
    app, error = TaskQ("shop", broker="memory://", results="memory://"), Unshowable("x")
    bench = Bench.of(app)

    @app.task(name="again", bind=True, max_retries=1, default_retry_delay=0)
    def again(self: BoundTask) -> None:
        self.retry(exc=error)

    @app.task(name="total")
    def total(values: list[int]) -> int:
        return sum(values)

    workflow = chord([again.s(), again.s()], total.s())
    one, all_of_them = (each.delay() if where == "sent" else each.apply() for each in (again.s(), workflow))
    bench.drain()
    with pytest.raises(Unshowable):
        one.get(timeout=1)
    with pytest.raises(ChordError, match=r"raised Unshowable\("):
        all_of_them.get(timeout=1)


def test_exception_of_an_eager_task_has_its_own_context_only(app: TaskQ) -> None:
    @app.task(name="fails")
    def fails() -> None:
        raise LookupError

    with pytest.raises(LookupError) as caught:
        fails.apply().get()
    assert caught.value.__context__ is None


def test_failed_chord_has_the_members_exception_as_its_cause(app: TaskQ) -> None:
    failing: Any = app.task(name="decline")(decline)
    result: Any = chord([app.tasks["add"].s(1, 1), failing.s()])(app.tasks["total"].s())
    with pytest.raises(ChordError, match="raised Declined") as caught:
        result.get()
    assert caught.value is result.result
    assert caught.value.__cause__ is RAISED


def test_workflows_inside_an_eager_task_have_their_values(app: TaskQ) -> None:
    add, total = app.tasks["add"], app.tasks["total"]

    @app.task(name="outer")
    def outer() -> list[Any]:
        header = [add.s(1, 1), add.s(2, 2)]
        members = group(header).delay()
        return [
            chord(header, total.s()).delay().get(),
            members.get(),
            [document["result"] for _, document in members.iter_native()],
            chain(add.s(1, 2), add.s(4)).delay().get(),
        ]

    assert outer.delay().get() == [6, [2, 4], [2, 4], 7]


def test_origin_of_an_eager_task_is_that_of_a_sent_one(app: TaskQ) -> None:
    ids: Any = app.tasks["ids"]

    @app.task(name="outer", bind=True)
    def outer(self: Any) -> list[Any]:
        return [self.request.id, ids.delay().get(), chain(ids.s(), ids.s()).delay().get()]

    ((own, root, parent, *_),) = ids.delay().get()
    assert (root, parent) == (own, None)
    called_by, ((_, root, parent, *_),), (first, second) = outer.delay().get()
    assert (root, parent) == (called_by, called_by)
    assert first[1:3] == [called_by, called_by]
    assert second[1:3] == [called_by, first[0]]


def test_origin_within_an_eager_workflow_is_that_of_a_sent_one(app: TaskQ) -> None:
    ids: Any = app.tasks["ids"]
    first, second = chain(ids.s(), ids.s()).delay().get()
    assert first[1:3] == [first[0], None]
    assert second[1:3] == [first[0], first[0]]
    members = group(ids.s(), ids.s()).delay()
    (one,), (two,) = members.get()
    assert [one[1:], two[1:]] == [[one[0], None, members.id, 0], [one[0], None, members.id, 1]]

    @app.task(name="body", bind=True)
    def body(self: Any, header: Any) -> list[Any]:
        return [self.request.root_id, self.request.parent_id, header]

    root, parent, ((one,), (two,)) = chord([ids.s(), ids.s()])(body.s()).get()
    assert (root, parent) == (one[0], two[0])


def test_eager_callback_follows_from_its_task(app: TaskQ) -> None:
    seen: list[Any] = []

    @app.task(name="note", bind=True)
    def note(self: Any, value: Any) -> None:
        seen.append((self.request.root_id, self.request.parent_id))

    result = app.tasks["add"].apply_async((1, 2), link=note.s())
    assert seen == [(result.id, result.id)]


def test_eager_replacement_takes_the_place_of_its_task(app: TaskQ) -> None:
    ids: Any = app.tasks["ids"]

    @app.task(name="replaced", bind=True)
    def replaced(self: Any, *_: Any) -> None:
        self.replace(ids.si())

    first = app.tasks["add"].si(1, 2)
    (((own, root, parent, _, index),),) = chain(first, group(replaced.s(), first)).delay().get()[:1]
    assert index == 0
    assert root == parent
    assert own != root


def test_result_of_an_eager_run_leaves_the_store_alone(app: TaskQ) -> None:
    add = app.tasks["add"]
    single, several = add.delay(1, 2), group(add.s(1, 1), add.s(2, 2)).delay()
    following = chain(add.s(1, 2), add.s(3)).delay()
    assert [single.revoke(), several.revoke(), following.revoke()] == [False, 0, False]
    assert [each.revoke_workflow() for each in (single, several, following)] == [0, 0, 0]
    for each in (single, several, following):
        each.forget()
        each.forget_workflow()
    assert [single.get(), several.get(), following.get()] == [3, [2, 4], 6]
    assert single.state == "SUCCESS"


def test_state_that_an_eager_task_updates_is_not_stored(app: TaskQ) -> None:
    @app.task(name="working", bind=True)
    def working(self: Any) -> str:
        self.update_state("PROGRESS", {"done": 1})
        return "done"

    @app.task(name="aworking", bind=True)
    async def aworking(self: Any) -> str:
        await self.aupdate_state("PROGRESS", {"done": 1})
        return "done"

    assert (working.delay().get(), aworking.delay().get()) == ("done", "done")


async def test_eager_value_is_had_without_a_store() -> None:
    app = TaskQ("shop", broker="memory://", results="disabled://", task_always_eager=True)
    task: Any = app.task(name="add")(lambda x, y: x + y)
    assert await (await task.adelay(1, 2)).aget() == 3


# -- the caller's time, and the task's


def test_timeout_of_a_caller_is_told_apart_from_the_tasks_own() -> None:
    app = TaskQ("shop", broker="memory://", results="memory://")

    @app.task(name="waiting")
    async def waiting() -> None:
        await app.AsyncResult("never-sent").aget(timeout=0)

    @app.task(name="unanswered")
    def unanswered() -> None:
        raise TimeoutError("no answer")

    results = [waiting.delay(), unanswered.delay()]
    for result in results:
        with pytest.raises(errors.TimeoutError, match="may still end"):
            result.get(timeout=0)
    run_tasks(app)
    for result, text in zip(results, ["task never-sent is PENDING after 0 s", "no answer"], strict=True):
        with pytest.raises(TimeoutError, match=text) as caught:
            result.get(timeout=5)
        assert not isinstance(caught.value, errors.TimeoutError)


@pytest.fixture
def storing() -> TaskQ:
    """An application that stores the results of eager calls."""
    app = TaskQ("shop", broker="memory://", results="memory://", task_always_eager=True, task_store_eager_result=True)
    app.task(name="add")(lambda x, y: x + y)
    app.task(name="silent", ignore_result=True)(lambda: 1)
    app.task(name="kept_to_itself", store_eager_result=False)(lambda: 1)

    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("no such user")

    @app.task(name="replace", bind=True)
    def replace(self: BoundTask) -> None:
        self.replace(app.tasks["add"].s(3, 4))

    @app.task(name="again", bind=True, max_retries=2)
    def again(self: BoundTask) -> int:
        if self.request.retries < 2:
            self.retry()
        return self.request.retries

    return app


@pytest.mark.parametrize(
    ("task", "args", "state", "value"),
    [
        ("add", (1, 2), "SUCCESS", 3),
        ("replace", (), "SUCCESS", 7),
        ("again", (), "SUCCESS", 2),
        ("silent", (), "PENDING", None),
        ("kept_to_itself", (), "PENDING", None),
    ],
)
def test_result_of_eager_call_is_stored(storing: TaskQ, task: str, args: Any, state: str, value: Any) -> None:
    eager = storing.tasks[task].delay(*args)
    stored = storing.AsyncResult(eager.id)
    assert (stored.state, stored.result) == (state, value)


def test_failure_of_eager_call_is_stored(storing: TaskQ) -> None:
    stored = storing.AsyncResult(storing.tasks["fail"].delay().id)
    with pytest.raises(ValueError, match="no such user"):
        stored.get(timeout=1)
    assert stored.traceback is not None


def test_results_of_eager_workflow_are_stored_with_their_details() -> None:
    settings: dict[str, Any] = {"task_always_eager": True, "task_store_eager_result": True, "result_extended": True}
    app = TaskQ("shop", broker="memory://", results="memory://", **settings)
    add = app.task(name="add")(lambda x, y: x + y)
    result = chain(add.s(1, 2), add.s(3)).delay()
    stored = app.AsyncResult(result.id)
    assert (stored.get(timeout=1), stored.name, stored.args) == (6, "add", [3, 3])
    assert stored.worker


async def test_result_of_eager_call_is_stored_on_an_event_loop(storing: TaskQ) -> None:
    eager = await storing.tasks["add"].adelay(1, 2)
    assert await storing.AsyncResult(eager.id).aget(timeout=1) == 3
