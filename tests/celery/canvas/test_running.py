"""Workflows have the values that Celery computes, in place and in a worker, and results with the ids of their tasks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskq_cloud.testing.tasks import run_tasks
from tests.celery.canvas.sides import Normaliser, Side
from tests.celery.canvas.test_composing import Alike

Make = Callable[[Side], Any]

WORKFLOWS: dict[str, Make] = {
    "sig": lambda s: s.add.s(1, 2),
    "partial": lambda s: s.add.s(1).clone((2,)),
    "chain": lambda s: s.chain(s.add.s(1, 2), s.mul.s(3), s.add.s(4)),
    "immutable_in_chain": lambda s: s.chain(s.add.s(1, 2), s.mul.si(3, 5), s.add.s(4)),
    "group": lambda s: s.group(s.add.s(1, 2), s.add.s(3, 4)),
    "generated_group": lambda s: s.group(s.add.s(i, i) for i in range(4)),
    "group_of_chains": lambda s: s.group(s.chain(s.add.s(1, 2), s.mul.s(2)), s.add.s(3, 4)),
    "group_in_group": lambda s: s.group(s.group(s.add.s(1, 2), s.add.s(3, 4)), s.add.s(5, 6)),
    "chord": lambda s: s.chord([s.add.s(1, 2), s.add.s(3, 4)], s.tsum.s()),
    "chord_of_generator": lambda s: s.chord((s.add.s(i, i) for i in range(5)), s.tsum.s()),
    "chord_of_group": lambda s: s.chord(s.group(s.add.s(1, 2), s.add.s(3, 4)), s.tsum.s()),
    "chord_with_chain_body": lambda s: s.chord([s.add.s(1, 2), s.add.s(3, 4)], s.chain(s.tsum.s(), s.add.s(5))),
    "chord_with_group_body": lambda s: s.chord([s.add.s(1, 2)], s.group(s.tsum.s(), s.same.s())),
    "chord_of_chains": lambda s: s.chord([s.chain(s.add.s(1, 2), s.mul.s(2)), s.add.s(3, 4)], s.tsum.s()),
    "chord_of_chords": lambda s: s.chord(
        [s.chord([s.add.s(1, 2), s.add.s(3, 4)], s.tsum.s()), s.add.s(5, 6)], s.tsum.s()
    ),
    "chord_in_chain": lambda s: s.chain(s.add.s(1, 2), s.chord([s.add.s(1), s.add.s(2)], s.tsum.s()), s.add.s(3)),
    "group_then_task": lambda s: s.group(s.add.s(1, 2), s.add.s(3, 4)) | s.tsum.s(),
    "task_then_group": lambda s: s.add.s(1, 2) | s.group(s.add.s(1), s.mul.s(2)),
    "task_group_task": lambda s: s.add.s(1, 2) | s.group(s.add.s(1), s.mul.s(2)) | s.tsum.s(),
    "raw_task_group_task": lambda s: s._chain(s.add.s(1, 2), s.group(s.add.s(1), s.mul.s(2)), s.tsum.s(), s.add.s(1)),
    "groups_in_a_row": lambda s: s.chain(
        s.group(s.add.s(1, 2), s.add.s(3, 4)), s.group(s.tsum.s(), s.tsum.s()), s.tsum.s()
    ),
    "chain_of_group_alone": lambda s: s.chain(s.group(s.add.s(1, 2), s.add.s(3, 4)), app=s.app),
    "empty_group_in_chain": lambda s: s._chain(s.group(app=s.app), s.add.s(1, 2), s.group(app=s.app), s.add.s(1)),
    "group_of_one_in_chain": lambda s: s.chain(s.group(s.add.s(1, 2)), s.add.s(1)),
    "nested_raw_chains": lambda s: s._chain(s._chain(s.add.s(1, 2), s.mul.s(2)), s._chain(s.add.s(1))),
    "kwargs": lambda s: s.chain(s.many.s(1, a=2), s.many.s(b=3)),
    "map": lambda s: s.tsum.map([[1, 2], [3]]),
    "starmap": lambda s: s.add.starmap([(1, 2), (3, 4)]),
    "map_in_chain": lambda s: s.chain(s.tsum.map([[1, 2], [3]]), s.tsum.s()),
}

workflows = pytest.mark.parametrize("name", WORKFLOWS)


def sent(s: Side, result: Any) -> Any:
    """The value of a workflow that was sent, once a worker has run its tasks."""
    run_tasks(s.app.native)
    return result.get(timeout=1)


@workflows
def test_value_in_place_is_celerys(alike: Alike, name: str) -> None:
    alike(lambda s: WORKFLOWS[name](s).apply().get())


@workflows
def test_value_of_call_in_place_with_arguments_is_celerys(alike: Alike, name: str) -> None:
    alike(lambda s: s.chain(s.same.s([1]), s.many.s(2)).apply((), {}).get())
    alike(lambda s: [WORKFLOWS[name](s).clone().apply().get(), s.group(s.many.s(1), s.many.si(2)).apply((0,)).get()])


@workflows
def test_value_in_a_worker_is_the_value_in_place(ours: Side, name: str) -> None:
    expected = WORKFLOWS[name](ours).apply().get()
    assert sent(ours, WORKFLOWS[name](ours).apply_async()) == expected
    assert sent(ours, WORKFLOWS[name](ours).delay()) == expected


@workflows
def test_value_with_always_eager_is_celerys(alike: Alike, name: str) -> None:
    def scenario(s: Side) -> Any:
        s.app.conf.task_always_eager = True
        try:
            return WORKFLOWS[name](s).apply_async().get()
        finally:
            s.app.conf.task_always_eager = False

    alike(scenario)


@workflows
def test_results_of_frozen_workflow_are_those_of_the_sent_one(ours: Side, name: str) -> None:
    workflow = WORKFLOWS[name](ours)
    frozen = workflow.freeze()
    expected = workflow.apply().get()
    result = workflow.apply_async()
    assert result.id == frozen.id
    assert set(_ids(result)) <= set(_ids(frozen))
    run_tasks(ours.app.native)
    assert frozen.get(timeout=1) == expected
    assert _all_ready(frozen)


def _ids(result: Any) -> Iterator[str]:
    while result is not None:
        yield result.id
        for each in getattr(result, "results", None) or ():
            yield from _ids(each)
        result = result.parent


def _all_ready(result: Any) -> bool:
    while result is not None:
        assert result.ready(), result
        for each in getattr(result, "results", None) or ():
            _all_ready(each)
        result = result.parent
    return True


@workflows
def test_results_of_call_form_celerys_tree(alike: Alike, name: str) -> None:
    alike(lambda s: WORKFLOWS[name](s).apply_async())


def _tree(s: Side, rng: random.Random, depth: int, *, first: bool) -> Any:
    """A workflow that takes one argument, or none at the beginning, of tasks that take any values."""
    kind = rng.choice(["sig", "chain", "group", "chord", "chain", "chord"]) if depth else "sig"
    few = rng.randint(1, 3)
    match kind:
        case "chain":
            steps = [_tree(s, rng, depth - 1, first=first and index == 0) for index in range(few)]
            # Celery's chord waits for each task of a group in which a member of its header ends.
            return s.chain(*steps, s.many.s(rng.randint(0, 9)))
        case "group":
            return s.group(*(_leaf_or_chain(s, rng, depth - 1, first=first) for _ in range(few)))
        case "chord":
            header = [_leaf_or_chain(s, rng, depth - 1, first=first) for _ in range(few)]
            return s.chord(header, s.many.s(rng.randint(0, 9)))
    return s.many.si(rng.randint(0, 9)) if rng.random() < 0.2 else s.many.s(rng.randint(0, 9))


def _leaf_or_chain(s: Side, rng: random.Random, depth: int, *, first: bool) -> Any:
    tree = _tree(s, rng, max(depth, 0), first=first)
    return s.chain(tree, s.same.s()) if tree.subtask_type == "group" else tree


@pytest.mark.parametrize("seed", range(60))
def test_random_workflow_has_celerys_value(alike: Alike, ours: Side, seed: int) -> None:
    def make(s: Side) -> Any:
        return _tree(s, random.Random(seed), 1 + seed % 3, first=True)

    expected = alike(lambda s: make(s).apply().get())
    result = make(ours).apply_async()
    assert Normaliser()(sent(ours, result)) == expected
    assert _all_ready(result)


# -- arguments and options of a call


def test_arguments_of_a_call_reach_the_first_tasks(ours: Side) -> None:
    s = ours
    assert sent(s, s.chain(s.many.s(1), s.many.s(2)).apply_async((0,), {"k": 5})) == [[[[0, 1], {"k": 5}], 2], {}]
    assert sent(s, s.group(s.many.s(1), s.many.si(2)).apply_async((0,), {"k": 5})) == [[[0, 1], {"k": 5}], [[2], {}]]
    chord = s.chord([s.many.s(1), s.chain(s.same.s(), s.many.s(2))], s.same.s())
    assert sent(s, chord.apply_async((0,))) == [[[0, 1], {}], [[0, 2], {}]]
    assert sent(s, s.chord([s.many.s(1)])(s.same.s())) == [[[1], {}]]
    assert sent(s, s.add.s(1)(2) and s.add.s(2).delay(1)) == 3


def test_id_of_a_call_is_that_of_the_last_task(ours: Side) -> None:
    s = ours
    for workflow in (
        s.chain(s.add.s(1, 2), s.add.s(3)),
        s.chord([s.add.s(1, 2)], s.tsum.s()),
        s.group(s.add.s(1, 2), s.add.s(1, 2)),
        s.add.s(1, 2),
    ):
        task_id = s.module("utils").uuid()
        result = workflow.apply_async(task_id=task_id)
        assert result.id == task_id
        sent(s, result)


def test_callbacks_and_errbacks_of_a_chain_run(ours: Side) -> None:
    s, told = ours, []

    def note(*args: Any) -> None:
        told.append(args[0])

    tell = s.app.task(name="proj.tasks.tell", shared=False)(note)
    sent(s, s.chain(s.add.s(1, 2), s.add.s(3)).apply_async(link=tell.s()))
    sent(s, s.chord([s.add.s(1, 2)], s.tsum.s()).apply_async(link=[tell.s()]))
    assert told == [6, 3]
    told.clear()
    failed = s.chain(s.fail.s(), s.add.s(3)).apply_async(link_error=tell.si("failed"))
    with pytest.raises(ValueError, match="no"):
        sent(s, failed)
    assert told == ["failed"]
    told.clear()
    group = s.group(s.add.s(1, 2).set(link=tell.s()), s.chain(s.add.s(2, 3), s.add.s(1)).set(link=tell.s()))
    assert sent(s, group.apply_async()) == [3, 6]
    assert sorted(told) == [3, 6]


def test_failed_header_fails_the_body_with_a_chord_error(ours: Side) -> None:
    result = ours.chord([ours.add.s(1, 2), ours.fail.s()], ours.tsum.s()).apply_async()
    run_tasks(ours.app.native)
    with pytest.raises(ours.module("exceptions").ChordError):
        result.get(timeout=1, follow_parents=False)
    assert result.state == "FAILURE"


def test_failing_task_in_place_raises_as_in_celery(alike: Alike) -> None:
    alike(lambda s: s.chain(s.add.s(1, 2), s.fail.s(), s.add.s(1)).apply())
    alike(lambda s: s.chord([s.add.s(1, 2), s.fail.s()], s.tsum.s()).apply())
    alike(lambda s: s.group(s.add.s(1, 2), s.fail.s()).apply().get(propagate=False))


def test_overridden_apply_async_of_tasks_that_run_first_is_called(ours: Side) -> None:
    s, calls = ours, []

    def apply_async(self: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        calls.append(self.name)
        s.same.delay("a call beside")
        return base.apply_async(self, (*args, "told"), kwargs, **options)

    def listed(*args: Any) -> Any:
        return list(args)

    base = s.app.Task
    tells = type("Tells", (base,), {"abstract": True, "apply_async": apply_async})
    task = s.app.task(name="proj.tasks.tells", base=tells, shared=False)(listed)
    chain = s.chain(task.s(1), s.many.s(2))
    assert sent(s, chain.apply_async()) == [[[1, "told"], 2], {}]
    assert sent(s, s.group(task.s(1), s.chain(task.s(2), s.same.s())).apply_async()) == [[1, "told"], [2, "told"]]
    assert sent(s, s.chord([task.s(1), s.add.s(1, 2)], s.same.s()).apply_async()) == [[1, "told"], 3]
    assert len(calls) == 4


def test_chunks_are_sent_as_a_group(ours: Side) -> None:
    s = ours
    chunks = s.add.chunks([(i, i) for i in range(5)], 2)
    assert sent(s, chunks()) == [[0, 2], [4, 6], [8]]
    assert sent(s, chunks.apply_async()) == [[0, 2], [4, 6], [8]]
    assert sent(s, s.chunks.apply_chunks(s.add.s(), [(1, 2)], 1, app=s.app)) == [[3]]
    assert len(chunks.group()) == 3


def test_call_of_empty_workflows_is_celerys(alike: Alike) -> None:
    alike(lambda s: [s.chain()(), s.chain(app=s.app).apply_async(), s._chain(app=s.app).apply()])
    alike(lambda s: s.group(app=s.app).apply_async())
    alike(lambda s: s.group(app=s.app)())
    alike(lambda s: s.group(app=s.app).apply())
    alike(lambda s: s.chord([], s.tsum.s(), app=s.app).apply_async())
    alike(lambda s: s.chord([], s.tsum.s(), app=s.app).apply().get())


def test_empty_header_sends_the_body(ours: Side) -> None:
    assert sent(ours, ours.chord([], ours.tsum.s(), app=ours.app).apply_async()) == 0


def test_links_of_groups_are_refused_as_in_celery(alike: Alike) -> None:
    alike(lambda s: s.group(s.add.s(1, 2)).apply_async(link=s.add.s(1)))
    alike(lambda s: s.group(s.add.s(1, 2)).apply_async(link_error=s.add.s(1)))


def test_sending_leaves_signatures_as_they_were(ours: Side) -> None:
    for name, make in WORKFLOWS.items():
        workflow = make(ours)
        before = Normaliser()(workflow)
        ours_result = workflow.apply_async()
        after = Normaliser()(workflow)
        if workflow.subtask_type == "chain":
            assert workflow.id == (ours_result.id if ours_result else None)
            del workflow.options["task_id"]
            after = Normaliser()(workflow)
        assert after == before, name
    run_tasks(ours.app.native)
