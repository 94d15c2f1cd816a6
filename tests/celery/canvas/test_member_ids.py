"""The ids of the members of groups: they can be derived from the group's id, so that no list of them is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from taskq_cloud import TaskQ, chord
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.records.record import Record
from taskq_cloud.core.workflows.planner import member_id
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.testing.tasks import run_tasks
from tests.celery.canvas.sides import Side, make_side

SIZE = 100


class Written(MemoryResults):
    """A result store in memory that notes the length of what each write has written."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        self.lengths.append(sum(len(each.payload) for each in records))
        return (yield from super().save(records))


@pytest.fixture
def own() -> Iterator[Side]:
    side = make_side("taskq_cloud.celery")
    yield side
    side.app.close()


@pytest.fixture
def native() -> Iterator[TaskQ]:
    app = TaskQ("proj", broker="memory://", results="memory://")
    app.task(name="proj.tasks.same")(lambda value=None: value)
    yield app
    app.close()


def written_by(app: TaskQ, call: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], int]:
    """The lengths of what a call writes to the result store, and the length of its messages."""
    store = Written()
    monkeypatch.setitem(vars(app), "store", store)
    call()
    deliveries: list[Any] = []
    while found := app.run(app.broker.receive(app.route("proj.tasks.same"), 100, 0, 60)):
        deliveries += found
    assert len(deliveries) >= SIZE
    return store.lengths, sum(len(each.body) for each in deliveries)


def test_chord_costs_little_more_than_a_native_one(own: Side, native: TaskQ, monkeypatch: pytest.MonkeyPatch) -> None:
    same, native_same = own.same, native.tasks["proj.tasks.same"]
    stored, sent = written_by(
        own.app.native, own.chord([same.s(each) for each in range(SIZE)], same.s()).delay, monkeypatch
    )
    native_stored, native_sent = written_by(
        native, chord([native_same.s(each) for each in range(SIZE)], native_same.s()).delay, monkeypatch
    )
    assert len(stored) == len(native_stored) == 1
    assert stored[0] < native_stored[0] + 150
    assert sent < native_sent * 1.4


@pytest.mark.parametrize(
    "header",
    [
        lambda s: [s.same.s(1), s.same.s(2)],
        lambda s: (s.same.s(each) for each in (1, 2)),
        lambda s: s.group(s.same.s(1), s.same.s(2)),
        lambda s: [s.add.s(0, 1), s.chain(s.same.s(1), s.add.s(1))],
    ],
)
def test_members_of_chord_have_ids_of_planner(own: Side, header: Any) -> None:
    result = own.chord(header(own), own.same.s()).delay()
    group = result.parent
    assert [each.id for each in group.results] == [member_id(group.id, index) for index in range(2)]
    run_tasks(own.app.native)
    assert result.get(timeout=5) == [1, 2]
    assert [each.get(timeout=5) for each in group.results] == [1, 2]


def test_members_of_group_and_of_group_in_it(own: Side) -> None:
    result = own.group(own.same.s(1), own.group(own.same.s(2), own.same.s(3)), own.same.s(4)).delay()
    assert [each.id for each in result.results] == [member_id(result.id, index) for index in range(4)]
    run_tasks(own.app.native)
    assert result.get(timeout=5) == [1, 2, 3, 4]


def test_members_of_frozen_group_and_chord(own: Side) -> None:
    group = own.group(own.same.s(1), own.same.s(2))
    frozen = group.freeze()
    sent = group.apply_async()
    assert sent.id == frozen.id
    assert [each.id for each in sent.results] == [each.id for each in frozen.results]
    assert [each.id for each in sent.results] == [member_id(sent.id, index) for index in range(2)]
    run_tasks(own.app.native)
    assert frozen.get(timeout=5) == [1, 2]


def test_member_after_one_that_ends_in_a_group_has_id_of_its_own(own: Side) -> None:
    group = own.group(
        own.same.s(1), own.chain(own.same.s(2), own.group(own.add.s(1), own.add.s(2))), own.same.s(5), own.same.s(6)
    )
    result = own.chord(group, own.same.s()).delay()
    run_tasks(own.app.native)
    assert result.get(timeout=5) == [1, [3, 4], 5, 6]
    assert len({each.id for each in result.parent.results}) == 4


def test_group_with_given_id_has_new_members_each_time(own: Side) -> None:
    group = own.group(own.same.s(1), own.same.s(2), task_id="given")
    sent = [group.apply_async(), group.apply_async()]
    assert {each.id for each in sent} == {"given"}
    assert len({member.id for each in sent for member in each.results}) == 4


def test_member_added_after_freeze_has_id_of_its_own(own: Side) -> None:
    group = own.group([own.same.s(1), own.same.s(2)])
    group.freeze()
    group.tasks.insert(0, own.same.s(0))
    result = group.apply_async()
    assert len({each.id for each in result.results}) == 3
    run_tasks(own.app.native)
    assert result.get(timeout=5) == [0, 1, 2]


def test_chord_sent_twice_runs_twice(own: Side) -> None:
    header = own.group(own.same.s(1), own.same.s(2))
    sig = own.chord(header, own.same.s())
    first, second = sig.delay(), sig.delay()
    assert first.id != second.id
    assert not {each.id for each in first.parent.results} & {each.id for each in second.parent.results}
    run_tasks(own.app.native)
    assert first.get(timeout=5) == second.get(timeout=5) == [1, 2]


def test_workflow_can_be_watched_by_its_id(own: Side) -> None:
    result = own.chord([own.same.s(1), own.same.s(2)], own.same.s()).delay()
    run_tasks(own.app.native)
    found = own.app.native.AsyncResult(result.id).progress()
    assert found.states == {"SUCCESS": 3}
