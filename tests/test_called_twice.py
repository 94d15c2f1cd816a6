"""A call with an id that another call had: after a success it does nothing, visibly; after a failure it runs again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from taskq_cloud import ChordError, TaskQ, chain, chord, group
from taskq_cloud.errors import TaskRevokedError
from taskq_cloud.testing.bench import Bench
from taskq_cloud.testing.clock import FakeClock
from tests.counted_results import CountedResults

REASON = r"task fetch\[.*\] was called before with this id, and has succeeded"


class Shop:
    """An application whose queue is served by hand, and the runs of its tasks."""

    def __init__(self) -> None:
        self.app = TaskQ("shop", broker="memory://", results="memory://")
        clock, self.runs = FakeClock(), list[tuple[str, Any]]()
        self.store = CountedResults(clock)
        self.bench = Bench.of(self.app, clock=clock, store=self.store)

        @self.app.task(name="fetch")
        def fetch(number: int) -> int:
            self.runs.append(("fetch", number))
            if number < 0:
                raise ValueError(number)
            return number

        @self.app.task(name="keep")
        def keep(value: Any) -> Any:
            self.runs.append(("keep", value))
            return value

        @self.app.task(name="tell")
        def tell(task_id: str) -> None:
            self.runs.append(("tell", task_id))

        self.fetch, self.keep, self.tell = fetch, keep, tell

    def drained(self) -> list[tuple[str, Any]]:
        """The runs until the queue is empty."""
        self.runs.clear()
        self.bench.drain()
        return list(self.runs)


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.app.close()


def test_second_call_of_a_chain_does_nothing_and_says_so(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    def call(number: int) -> Any:
        return chain(shop.fetch.s(number).set(task_id="daily", link=shop.keep.s()), shop.keep.s()).apply_async()

    first = call(1)
    assert sorted(shop.drained()) == [("fetch", 1), ("keep", 1), ("keep", 1)]
    second = call(2)
    with caplog.at_level(logging.WARNING):
        assert shop.drained() == []
    assert (first.get(timeout=1), shop.app.AsyncResult("daily").get(timeout=1)) == (1, 1)
    with pytest.raises(TaskRevokedError, match=REASON):
        second.get(timeout=1)
    assert "give it an id of its own" in caplog.text
    assert not shop.bench.dead_letters("celery")


def test_second_call_of_a_failed_task_is_a_run_of_its_own(shop: Shop) -> None:
    def call(number: int) -> Any:
        options: Any = {"link": shop.keep.s(), "link_error": shop.tell.s()}
        return shop.fetch.apply_async((number,), task_id="order-7", **options)

    for _ in range(2):
        result = call(-1)
        assert shop.drained() == [("fetch", -1), ("tell", "order-7")], "each failure is told"
        assert result.state == "FAILURE"
    result = call(3)
    assert shop.drained() == [("fetch", 3), ("keep", 3)]
    assert result.get(timeout=1) == 3
    call(4)
    assert shop.drained() == []
    assert result.get(timeout=1) == 3


def test_failed_task_is_called_again_by_the_id_that_it_got_itself(shop: Shop) -> None:
    result = shop.fetch.delay(-1)
    shop.drained()
    assert result.state == "FAILURE"
    again = shop.fetch.apply_async((5,), task_id=result.id)
    assert shop.drained() == [("fetch", 5)]
    assert again.get(timeout=1) == 5


def test_redelivery_of_a_failed_call_is_not_another_call(shop: Shop) -> None:
    result = shop.fetch.apply_async((-1,), task_id="order-7")
    (delivery,) = shop.bench.receive()
    shop.bench.run(shop.bench.pipeline.process(delivery))  # the worker dies before it acknowledges the message
    shop.bench.clock.advance(100)
    shop.bench.drain()
    assert shop.runs == [("fetch", -1)]
    assert result.state == "FAILURE"


def test_second_call_of_a_chords_member_fails_the_second_body(shop: Shop) -> None:
    def call(number: int) -> Any:
        return chord([shop.fetch.s(number).set(task_id="member"), shop.fetch.s(7)], shop.keep.s()).apply_async()

    first = call(5)
    assert shop.drained()[-1] == ("keep", [5, 7])
    second = call(6)
    assert shop.drained() == [("fetch", 7)]
    assert first.get(timeout=1) == [5, 7]
    with pytest.raises(ChordError, match=REASON):
        second.get(timeout=1)


def test_second_call_of_a_chords_body_keeps_the_first_value(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    def call(number: int) -> Any:
        return chord([shop.fetch.s(number)], shop.keep.s().set(task_id="report")).apply_async()

    call(5)
    assert shop.drained() == [("fetch", 5), ("keep", [5])]
    second = call(6)
    with caplog.at_level(logging.WARNING):
        assert shop.drained() == [("fetch", 6)]
    assert second.get(timeout=1) == [5]
    assert "task keep[report] was called before with this id" in caplog.text


def test_second_chord_with_one_group_id_ends_too(shop: Shop) -> None:
    def call(number: int) -> Any:
        header = group([shop.fetch.s(number), shop.fetch.s(7)]).set(task_id="header")
        return (header | shop.keep.s()).apply_async()

    first = call(5)
    assert shop.drained()[-1] == ("keep", [5, 7])
    second = call(6)
    assert shop.drained() == []
    assert first.get(timeout=1) == [5, 7]
    with pytest.raises(ChordError, match=REASON):
        second.get(timeout=1)


def test_second_large_chord_with_one_group_id_ends_too(shop: Shop) -> None:
    shop.app = TaskQ("shop", broker="memory://", results="memory://", task_fan_out_members=2)
    bench = Bench.of(shop.app)
    fetch = shop.app.task(name="fetch")(lambda number: number)
    keep = shop.app.task(name="keep")(lambda values: values)

    def call(number: int) -> Any:
        result = (group([fetch.s(each) for each in (number, 7, 8)]).set(task_id="header") | keep.s()).apply_async()
        bench.drain()
        return result

    assert call(5).get(timeout=1) == [5, 7, 8]
    with pytest.raises(ChordError, match=REASON):
        call(6).get(timeout=1)


def test_call_that_ends_beside_another_of_its_id_does_not_mix_their_values(shop: Shop) -> None:
    results = [chain(shop.fetch.s(number).set(task_id="daily"), shop.keep.s()).apply_async() for number in (1, 2)]
    deliveries = shop.bench.receive()
    running = [shop.bench.begin(each) for each in deliveries]
    for each in running:
        assert each.invocation is not None
        each.end(shop.bench.runner.run(each.invocation))
    assert shop.drained() == [("keep", 1)]
    assert results[0].get(timeout=1) == 1
    with pytest.raises(TaskRevokedError, match=REASON):
        results[1].get(timeout=1)


def test_call_whose_id_failed_beside_it_is_recorded(shop: Shop) -> None:
    result = shop.fetch.apply_async((-1,), task_id="daily")
    shop.fetch.apply_async((2,), task_id="daily")
    failing, running = (shop.bench.begin(each) for each in shop.bench.receive())
    assert failing.invocation is not None
    assert running.invocation is not None
    failing.end(shop.bench.runner.run(failing.invocation))
    assert result.state == "FAILURE"
    running.end(shop.bench.runner.run(running.invocation))
    assert shop.app.AsyncResult("daily").get(timeout=1) == 2


def test_revoked_id_is_not_run_by_a_later_call(shop: Shop) -> None:
    shop.app.AsyncResult("daily").revoke()
    result = shop.fetch.apply_async((1,), task_id="daily")
    assert shop.drained() == []
    assert result.state == "REVOKED"


def test_retry_of_a_call_with_its_own_id_is_the_same_call(shop: Shop) -> None:
    @shop.app.task(name="twice", bind=True, autoretry_for=OSError, default_retry_delay=1)
    def twice(self: Any) -> int:
        shop.runs.append(("twice", self.request.retries))
        if self.request.retries == 0:
            raise OSError("busy")
        return 5

    result = twice.apply_async(task_id="daily")
    assert shop.drained() == [("twice", 0), ("twice", 1)]
    assert result.get(timeout=1) == 5


def test_replacement_of_a_call_with_its_own_id_is_the_same_call(shop: Shop) -> None:
    @shop.app.task(name="replaced", bind=True)
    def replaced(self: Any, number: int) -> Any:
        return self.replace(chain(shop.fetch.s(number), shop.keep.s()))

    assert (replaced.apply_async((1,), task_id="daily"), shop.drained())[1] == [("fetch", 1), ("keep", 1)]
    second = replaced.apply_async((2,), task_id="daily")
    assert shop.drained() == []
    assert second.get(timeout=1) == 1


def test_only_calls_with_their_own_id_are_looked_up(shop: Shop) -> None:
    chain(shop.fetch.s(1), shop.keep.s()).apply_async()
    shop.drained()
    assert shop.store.loads == 0
    shop.fetch.apply_async((1,), task_id="daily")
    shop.drained()
    assert shop.store.loads == 1


# -- ids


def test_uuid_is_an_id_everywhere(shop: Shop) -> None:
    own = UUID("12e80bd4-433a-40f1-ba80-d3983459a61c")
    result = shop.fetch.apply_async((1,), task_id=own)
    workflow = chain(shop.fetch.s(2), shop.keep.s()).apply_async(task_id=UUID(int=7))
    members = group(shop.fetch.s(3), shop.fetch.s(4)).apply_async(task_id=UUID(int=8))
    shop.drained()
    assert (result.id, shop.app.AsyncResult(own).get(timeout=1)) == (str(own), 1)
    assert (workflow.id, workflow.get(timeout=1)) == (str(UUID(int=7)), 2)
    assert (members.id, members.get(timeout=1)) == (str(UUID(int=8)), [3, 4])
    members.save()
    assert shop.app.GroupResult.restore(UUID(int=8)) == members


@pytest.mark.parametrize("wrong", [42, b"id", 1.5, ["id"]])
def test_id_that_is_no_text_is_refused_at_once(shop: Shop, wrong: Any) -> None:
    with pytest.raises(TypeError, match="task_id must be a text"):
        shop.fetch.apply_async((1,), task_id=wrong)
    with pytest.raises(TypeError, match="task_id must be a text"):
        group(shop.fetch.s(1)).set(task_id=wrong)
    with pytest.raises(TypeError, match="task_id must be a text"):
        shop.app.signature("fetch", (1,), {}, {"task_id": wrong}).apply_async()
    with pytest.raises(TypeError, match="the id of a result must be a text"):
        shop.app.AsyncResult(wrong)
    with pytest.raises(TypeError, match="the id of a group must be a text"):
        shop.app.GroupResult(wrong, [])
    assert shop.drained() == []
