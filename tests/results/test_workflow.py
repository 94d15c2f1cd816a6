"""A workflow as a whole: its progress, its tree, its revocation, and Celery's graph of it."""

from __future__ import annotations

import io
import logging
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from taskq_cloud import TaskQ, chain, chord, group
from taskq_cloud.canvas import signature
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.workflows import shape
from taskq_cloud.core.workflows.progress import NO_RECORD, GroupNode, TaskNode, tasks
from taskq_cloud.core.workflows.stages import GroupStage
from taskq_cloud.errors import ChordError, ImproperlyConfigured, IncompleteStream, TaskRevokedError
from taskq_cloud.results.group_result import result_from_tuple
from taskq_cloud.results.result_set import ResultSet
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.stores.results.sqlite import SQLiteResults
from taskq_cloud.testing.bench import Bench
from taskq_cloud.testing.clock import FakeClock
from tests.chaos import serve
from tests.workflows import build, is_nothing, make_app, outcome, workflows


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "taskq_cloud.execution")


def make(store: Callable[[FakeClock], ResultStore] = MemoryResults, **options: Any) -> tuple[TaskQ, Bench]:
    """Make an application and its bench, with a store that is made on the bench's clock."""
    app, clock = make_app(broker="memory://", results="memory://", **options), FakeClock()
    return app, Bench.of(app, clock=clock, store=store(clock))


@pytest.fixture(params=["memory", "sqlite"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[TaskQ, Bench]]:
    app, bench = make(partial(SQLiteResults, tmp_path / "results.db") if request.param == "sqlite" else MemoryResults)
    yield app, bench
    bench.close()
    app.close()


@pytest.fixture
def app(made: tuple[TaskQ, Bench]) -> TaskQ:
    return made[0]


@pytest.fixture
def bench(made: tuple[TaskQ, Bench]) -> Bench:
    return made[1]


def task(app: TaskQ, tag: str = "a") -> Any:
    return app.tasks["task"].s(tag=tag)


def failing(app: TaskQ) -> Any:
    return app.tasks["failing"].s(tag="f")


# -- progress


def test_progress_by_id_equals_progress_of_the_callers_result(app: TaskQ, bench: Bench) -> None:
    result: Any = chain(task(app), group(task(app), task(app) | failing(app)), task(app)).delay()
    by_id = app.AsyncResult(result.id)
    assert dict(result.progress().states) == {"PENDING": 5}
    assert (result.progress().fraction, result.progress().ended) == (0, 0)
    serve(bench)
    for progress in (result.progress(), by_id.progress()):
        assert dict(progress.states) == {"SUCCESS": 3, "FAILURE": 2}
        assert (progress.total, progress.completed, progress.failed, progress.revoked) == (5, 3, 2, 0)
        assert progress.fraction == 1
        assert repr(progress) == "<Progress: 5 of 5 ended (100 %): SUCCESS 3, FAILURE 2>"


class NotShownAnew(Exception):
    """An exception whose text needs more than its arguments, and whose module asks for it."""

    def __init__(self, order: dict[str, int]) -> None:
        super().__init__(order)
        self.order = order

    def __str__(self) -> str:
        return f"order {self.order['id']}"


def test_exception_that_can_not_be_shown_anew_leaves_the_workflow_readable(app: TaskQ, bench: Bench) -> None:
    @app.task(name="refuses")
    def refuses() -> None:
        raise NotShownAnew({"id": 5})

    result: Any = chain(app.tasks["refuses"].si(), group(task(app), task(app)), task(app)).delay()
    serve(bench)
    refused = next(node for node in result.tree().tasks() if node.name == "refuses")
    assert refused.error == "NotShownAnew: order 5"
    assert (result.progress().failed, result.progress().ended) == (2, 4)
    assert result.revoke_workflow() == 0
    with pytest.raises(NotShownAnew, match="order 5"):
        result.get(timeout=0)


async def test_workflow_methods_work_on_an_event_loop() -> None:
    app, _ = make()
    result: Any = await chain(task(app), task(app)).adelay()
    assert (await app.AsyncResult(result.id).aprogress()).total == 2
    assert [node.name for node in (await result.atree()).branch] == ["task", "task"]
    assert await result.arevoke_workflow() == 2
    await result.aforget_workflow()
    assert (await result.aload()).state == "PENDING"
    await app.aclose()


def test_progress_of_a_header_counts_the_tasks_up_to_the_header(app: TaskQ) -> None:
    result: Any = chain(task(app), group(task(app), task(app)), task(app)).delay()
    assert (result.progress().total, result.parent.progress().total) == (4, 3)
    assert ResultSet([result.parent, result], app).progress().total == 4


def test_tasks_with_ignored_results_count_as_not_stored(app: TaskQ, bench: Bench) -> None:
    quiet = task(app).set(ignore_result=True)
    result: Any = chain(quiet, task(app), quiet).delay()
    serve(bench)
    progress = app.AsyncResult(result.id).progress()
    assert (progress.total, progress.completed, progress.not_stored) == (1, 1, 2)
    assert str(progress) == "1 of 1 ended (100 %): SUCCESS 1; 2 not stored"
    assert result.tree().ended
    assert result.tree().successful


def test_ended_task_without_a_record_is_not_pending(app: TaskQ, bench: Bench) -> None:
    result: Any = chain(task(app), group(task(app), task(app)), task(app)).delay()
    serve(bench)
    result.parent.results[0].forget()
    assert dict(result.progress().states) == {"SUCCESS": 3, NO_RECORD: 1}
    assert result.progress().fraction == 1


def test_linked_workflow_is_found_by_the_children_of_its_task(app: TaskQ, bench: Bench) -> None:
    inner = chain(task(app, "b"), task(app, "c"))
    result: Any = chain(task(app), task(app).link(inner)).delay()
    assert result.progress().total == 2
    serve(bench)
    assert result.progress().completed == 4
    (_, last) = result.tree().branch
    assert isinstance(last, TaskNode)
    (called,) = last.inside
    assert len(called.inside) == 1
    # The first task's id leads to all tasks.
    assert app.AsyncResult(result.parent.id).progress().completed == 4


def test_id_without_a_stored_shape_stands_for_a_single_task(app: TaskQ) -> None:
    result: Any = chain(task(app), task(app)).delay()
    app.run(app.store.delete([shape.key(result.id)]))
    assert app.AsyncResult(result.id).progress().total == 1
    assert result.progress().total == 2


def test_result_in_place_has_progress_without_a_store() -> None:
    app = make_app(broker="memory://", results="disabled://")
    assert chain(task(app), group(task(app), task(app))).apply().progress().completed == 3
    with pytest.raises(ImproperlyConfigured, match="no result store is configured"):
        app.AsyncResult("x").progress()


class Counting(MemoryResults):
    """A store that counts its loads and saves."""

    loads = saves = 0

    def load(self, ids: Any) -> Any:
        self.loads += 1
        return super().load(ids)

    def save(self, records: Any) -> Any:
        self.saves += 1
        return super().save(records)


def test_large_group_is_read_and_revoked_in_pages() -> None:
    app, _ = make(Counting)
    result: Any = chord([task(app)] * 2000, task(app)).delay()
    store: Any = app.store
    sent = store.saves
    assert app.AsyncResult(result.id).progress().total == 2001
    assert store.loads == 1 + 5
    assert result.revoke_workflow() == 2001
    assert store.saves == sent + 5


# -- the tree


def test_tree_has_names_states_and_times() -> None:
    app, bench = make(result_extended=True)
    result: Any = chain(group(task(app), failing(app)), task(app)).delay()
    serve(bench)
    view = app.AsyncResult(result.id).tree()
    assert (view.known, view.ended, view.successful) == (True, True, False)
    header, body = view.branch
    assert isinstance(header, GroupNode)
    assert isinstance(body, TaskNode)
    well, badly = tasks((header,))
    assert (header.id, well.name, well.state, badly.name, badly.state) == (
        result.parent.id,
        "task",
        "SUCCESS",
        "failing",
        "FAILURE",
    )
    assert badly.error == "ValueError: f"
    assert well.started_at is not None
    assert well.ended_at is not None
    assert well.started_at <= well.ended_at
    assert body.error is not None
    assert body.error.startswith("ChordError: Dependency")
    assert not app.AsyncResult("nobody").tree().known


# -- revoking


def test_workflow_revoked_before_its_first_task_sends_nothing_more(app: TaskQ, bench: Bench) -> None:
    result: Any = chain(task(app), task(app), task(app)).delay()
    assert app.AsyncResult(result.id).revoke_workflow() == 3
    assert serve(bench).runs == 1
    assert dict(result.progress().states) == {"REVOKED": 3}
    with pytest.raises(TaskRevokedError):
        result.get(timeout=0)
    assert result.revoke_workflow() == 0


def revoking_while_it_runs(app: TaskQ) -> Any:
    """A task that revokes its own workflow: a revocation that is certain to happen during a run."""

    @app.task(name="revoking")
    def revoking(*args: Any, of: str) -> str:
        app.AsyncResult(of).revoke_workflow()
        return "dropped"

    return revoking


def test_running_task_of_a_revoked_chain_sends_nothing(app: TaskQ, bench: Bench) -> None:
    revoking = revoking_while_it_runs(app)
    result: Any = chain(task(app), revoking.s(of="last"), task(app).link(task(app)), task(app)).apply_async(
        task_id="last"
    )
    assert serve(bench).runs == 2
    assert dict(result.progress().states) == {"SUCCESS": 1, "REVOKED": 3}


def test_running_member_of_a_revoked_chord_ends_the_chord(app: TaskQ, bench: Bench) -> None:
    revoking = revoking_while_it_runs(app)
    header = [revoking.s(of="body"), chain(task(app), task(app)), task(app)]
    result: Any = chord(header, task(app) | task(app)).apply_async(task_id="body")
    serve(bench)
    assert result.tree().ended
    assert result.progress().ended == result.progress().total
    assert [result.state, result.parent.state] == ["REVOKED", "REVOKED"]


def test_running_body_of_a_revoked_chord_sends_nothing(app: TaskQ, bench: Bench) -> None:
    revoking = revoking_while_it_runs(app)
    result: Any = chord([task(app), task(app)], chain(revoking.s(of="last"), task(app))).apply_async(task_id="last")
    assert serve(bench).runs == 3
    assert dict(result.progress().states) == {"SUCCESS": 2, "REVOKED": 2}


def test_chord_with_revoked_members_fails_with_all_following_tasks(app: TaskQ, bench: Bench) -> None:
    result: Any = chain(group(task(app), task(app)), task(app), group(task(app), task(app))).delay()
    header = result.parent.parent
    assert header.revoke() == 2
    serve(bench)
    with pytest.raises(ChordError, match="TaskRevokedError"):
        result.get(timeout=0)
    assert dict(result.progress().states) == {"REVOKED": 2, "FAILURE": 3}


@settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), max_examples=60)
@given(node=workflows(), seed=st.integers(0, 2**32), whole=st.booleans())
def test_random_workflow_ends_whichever_tasks_are_revoked(node: Any, seed: int, whole: bool) -> None:
    assume(not is_nothing(node))
    (app, bench), rng = make(), random.Random(seed)
    result: Any = signature(build(app, node), app=app).apply_async()
    if whole:
        result.revoke_workflow()
    else:
        for each in result.everyone():
            if rng.random() < 0.3:
                each.revoke()
    serve(bench, 0.2, rng)
    outcome(result)  # all have ended
    assert result.tree().ended
    app.close()


def test_forget_workflow_removes_all_its_records(app: TaskQ, bench: Bench) -> None:
    result: Any = chain(task(app), group(task(app), task(app)), task(app).link(task(app))).delay()
    serve(bench)
    ids = [each.id for each in result.tree().tasks()]
    assert len(ids) == 5
    result.forget_workflow()
    assert app.run(app.store.load([*ids, shape.key(result.id)])) == {}
    assert result.state == "PENDING"


# -- Celery's graph


def test_graph_leads_from_a_task_to_all_following_tasks(app: TaskQ, bench: Bench) -> None:
    result: Any = chain(task(app), task(app).link(task(app)), task(app)).delay()
    first = result.parent.parent
    with pytest.raises(IncompleteStream, match="has not ended"):
        _ = first.graph
    assert len(first.build_graph(intermediate=True)) == 1
    serve(bench)
    graph = first.graph
    assert len(graph) == 4
    assert graph[result.parent][-1] == result
    assert graph.topsort()[-1] == first
    assert next(value for _, value in first.collect()) == ["a"]
    assert first.get_leaf() == ["a", ["a", ["a"]]]
    written = io.StringIO()
    graph.to_dot(written)
    assert f'"{result.parent.id}" -> "{result.id}"' in written.getvalue()


def test_list_and_tuple_of_a_result_have_the_ids_of_its_parents(app: TaskQ) -> None:
    result: Any = chain(task(app), group(task(app), task(app)), task(app)).delay()
    assert result.as_list() == [result.id, result.parent.id, result.parent.parent.id]
    assert result.as_tuple()[0][0] == result.id


def test_maybe_throw_raises_the_error_once_the_task_has_failed(app: TaskQ, bench: Bench) -> None:
    result, seen = failing(app).delay(), []
    assert result.maybe_throw() is None
    serve(bench)
    with pytest.raises(ValueError, match="f"):
        result.maybe_throw()
    value = result.maybe_throw(propagate=False, callback=lambda *given: seen.append(given))
    assert isinstance(value, ValueError)
    assert seen == [(result.id, value)]


@pytest.fixture(scope="module")
def long_chain() -> Iterator[Any]:
    app = make_app(broker="memory://", results="memory://")
    yield chain(app.tasks["task"].si(tag="a") for _ in range(3000)).apply_async()
    app.close()


def tasks_in_a_set(result: Any) -> int:
    stage = ResultSet([result]).stages()[0]
    assert isinstance(stage, GroupStage)
    return len(stage.members[0])


@pytest.mark.parametrize(
    "ask",
    [
        lambda result: result.progress().total,
        lambda result: len(list(result.tree().tasks())),
        lambda result: len(result.as_list()),
        lambda result: len(list(result.everyone())),
        lambda result: len(result.stages()),
        lambda result: len(result_from_tuple(result.as_tuple(), result.app).as_list()),
        tasks_in_a_set,
        lambda result: len([task for task in result.tree().tasks() if task.state == "PENDING"]),
        lambda result: result.revoke_workflow(),
        lambda result: result.forget() or 3000,
        lambda result: result.forget_workflow() or 3000,
    ],
    ids=[
        "progress",
        "tree",
        "as_list",
        "everyone",
        "stages",
        "tuple",
        "set",
        "states",
        "revoke",
        "forget",
        "forget all",
    ],
)
def test_chain_longer_than_the_recursion_limit_is_supported(long_chain: Any, ask: Any) -> None:
    assert ask(long_chain) == 3000
