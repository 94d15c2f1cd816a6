"""Test the order of a batch of which some records may have ended an earlier invocation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from taskq_cloud.core.execution.steps.receives import BEGUN, ENDED, note_ids
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import DeadLetter, Delivery, Release
from taskq_cloud.core.records.record import Record
from taskq_cloud.errors import Reject, Unreachable
from taskq_cloud.serverless.suspects import APART_SECONDS, Plan, plan
from taskq_cloud.stores.results.memory import MemoryResults
from tests.serverless.events import Context, Shop, batch, call_of, failures, record

MOST_RECEIVES = 5


def plan_of(
    receives: Sequence[int], unended: Mapping[int, int] | None = None, groups: Sequence[str] | None = None
) -> Plan:
    deliveries = {
        position: Delivery(
            queue="work" if groups is None else "work.fifo",
            message_id=str(position),
            receipt=str(position),
            body="",
            receive_count=count,
            group=None if groups is None else groups[position],
        )
        for position, count in enumerate(receives)
    }
    notes = {
        position: {receives[position] - number: BEGUN for number in range(1, runs + 1)}
        for position, runs in (unended or {}).items()
    }
    return plan(deliveries, notes, MOST_RECEIVES)


@pytest.mark.parametrize(
    ("receives", "unended", "order"),
    [
        ([2, 2, 2, 2], {}, [3, 2, 1, 0]),
        ([3, 3, 3, 3], {}, [0, 1, 2, 3]),
        ([2, 1, 2, 1], {}, [1, 3, 2, 0]),
        ([3, 3, 1], {0: 1}, [2, 1, 0]),
        ([4, 3, 4], {0: 2, 1: 1}, [2, 1, 0]),
        ([5, 1, 5], {0: 3}, [0, 2, 1]),
    ],
    ids=[
        "backwards on an even receive",
        "forwards on an odd receive",
        "first receives before others",
        "suspects last",
        "longest suspected last",
        "failures first, then last chances",
    ],
)
def test_order_of_a_batch(receives: Sequence[int], unended: Mapping[int, int], order: Sequence[int]) -> None:
    assert list(plan_of(receives, unended).order) == order


def test_group_keeps_its_order_and_comes_as_late_as_its_suspect() -> None:
    assert list(plan_of([3, 3, 3, 3], {1: 1}, groups=["a", "a", "b", "a"]).order) == [2, 0, 1, 3]


def test_only_one_suspect_is_run_alone() -> None:
    assert set(plan_of([3, 3, 3, 1], {0: 1, 1: 1}).alone) == {0, 1}


def test_record_before_its_last_receive_is_alone_once_its_batch_has_a_suspect() -> None:
    assert set(plan_of([4, 4, 3], {0: 1}).alone) == {0, 1}
    assert set(plan_of([4, 4, 3]).alone) == set()


def noted(shop: Shop, message_id: str, receives: int, state: str = BEGUN) -> None:
    """Note that a run of a message began on each of its earlier receives."""
    delivery = Delivery(queue="work", message_id=message_id, receipt="", body="", receive_count=receives)
    for note in note_ids(delivery):
        shop.app.run(shop.app.store.save([Record(note, state, 0, "{}")]))


def test_other_records_are_settled_before_a_suspect_is_run(shop: Shop) -> None:
    settled_before: list[str] = []

    @shop.app.task(name="suspect")
    def suspect() -> None:
        settled_before.extend(f"{type(each).__name__} {each.delivery.message_id}" for each in shop.broker.settled)

    noted(shop, "s1", 3)
    noted(shop, "s2", 3)
    event = batch(
        record(call_of("suspect"), message_id="s1", receives=3),
        record("{", message_id="bad", receives=2),
        record(call_of("suspect"), message_id="s2", receives=3),
        record(call_of("add", 1), message_id="a", receives=3),
    )
    assert failures(shop.handler(event, Context())) == ["s2"]
    assert settled_before == ["Acknowledge a", "DeadLetter bad", "Release s2"]
    assert shop.broker.settled[-1].after_seconds == APART_SECONDS


def test_suspect_on_its_last_receive_fails_without_a_run(shop: Shop) -> None:
    call = call_of("add", 1)
    noted(shop, "s", 5)
    event = batch(record(call, message_id="s", receives=5), record(call_of("add", 2), message_id="a", receives=5))
    assert failures(shop.handler(event, Context())) == []
    assert shop.ran == [2]
    assert [type(each) for each in shop.broker.settled] == [DeadLetter]
    assert shop.app.AsyncResult(call.id).state == "FAILURE"


def test_run_that_ended_is_not_suspected_on_the_last_receive(shop: Shop) -> None:
    noted(shop, "s", 5, ENDED)
    assert failures(shop.handler(batch(record(call_of("add", 1), message_id="s", receives=5)), Context())) == []
    assert shop.ran == [1]


def test_task_that_is_given_back_by_itself_runs_on_its_last_receive(shop: Shop) -> None:
    call = call_of("unready")

    @shop.app.task(name="unready")
    def unready() -> None:
        shop.ran.append("unready")
        raise Reject("not yet", requeue=True)

    for receives in range(1, 6):
        shop.handler(batch(record(call, message_id="u", receives=receives)), Context())
    assert shop.ran == ["unready"] * 5
    assert {type(each) for each in shop.broker.settled} == {Release}


def test_first_batch_is_run_in_its_order_without_calls_for_notes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    load, loaded = shop.app.store.load, list[str]()

    def watched(ids: Sequence[str]) -> Flow[dict[str, Record]]:
        loaded.extend(ids)
        return load(ids)

    monkeypatch.setattr(shop.app.store, "load", watched)
    event = batch(*(record(call_of("add", number)) for number in range(4)))
    assert failures(shop.handler(event, Context())) == []
    assert (shop.ran, shop.broker.settled) == ([0, 1, 2, 3], [])
    assert not [each for each in loaded if each.startswith("taskq-run")]


def test_outage_of_the_store_during_a_run_does_not_make_the_task_a_killer(shop: Shop) -> None:
    store = DownResults()
    vars(shop.app).update(store=store)
    ran: list[int] = []

    @shop.app.task(name="goes down")
    def goes_down() -> None:
        ran.append(1)
        store.is_down = len(ran) == 1

    call, handler = call_of("goes down"), shop.app.lambda_handler()
    for receives in (2, 3, 4):
        assert failures(handler(batch(record(call, message_id="m", receives=receives)), Context())) == ["m"]
    store.is_down = False
    assert failures(handler(batch(record(call, message_id="m", receives=MOST_RECEIVES)), Context())) == []
    assert (shop.app.AsyncResult(call.id).state, len(ran)) == ("SUCCESS", 2)


class DownResults(MemoryResults):
    """A store that can't be reached while it is down."""

    is_down = False

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        self._check()
        return (yield from super().save(records))

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        self._check()
        return (yield from super().load(ids))

    def _check(self) -> None:
        if self.is_down:
            raise Unreachable("the table gives no answer")
