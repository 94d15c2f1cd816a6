"""Test that the results of a batch are saved together, while the next records run, and what becomes of each record."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from emulators.call_counter import CallCounter
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Release
from taskq_cloud.core.records.record import Record
from taskq_cloud.errors import PayloadTooLarge, Unreachable
from taskq_cloud.stores.results.dynamodb import DynamoDBResults
from taskq_cloud.stores.results.memory import MemoryResults
from tests.serverless.events import Context, Shop, batch, call_of, failures, make_app, record

LONG_SECONDS = 30


class TogetherResults(MemoryResults):
    """A store in memory that is asked to save records together; it notes how many it was given."""

    capabilities = replace(MemoryResults.capabilities, saves_together=True)

    def __init__(self) -> None:
        super().__init__()
        self.saves: list[list[str]] = []
        self.given: Sequence[Record] = ()
        self.failure: Exception | None = None
        self.about_to_save: Callable[[], object] = lambda: None
        self.breaks_off_after: int | None = None

    def save_each(self, records: Sequence[Record]) -> Flow[list[bool | Exception]]:
        self.saves.append([each.state for each in records])
        self.given = records
        self.about_to_save()
        if self.failure is not None:
            raise self.failure
        if self.breaks_off_after is not None:
            yield from self.save(records[: self.breaks_off_after])
            self.breaks_off_after = 0
            raise Unreachable("the connection broke")
        return [*(yield from self.save(records))]


@pytest.fixture
def store() -> TogetherResults:
    return TogetherResults()


def make_shop(store: TogetherResults) -> Shop:
    app, ran = make_app(worker_patience=0), list[Any]()
    vars(app).update(store=store)

    @app.task(name="double")
    def double(number: int) -> int:
        ran.append((number, sum(map(len, store.saves))))
        return 2 * number

    return Shop(app, ran, vars(app)["broker"], app.lambda_handler())


@pytest.fixture
def shop(store: TogetherResults) -> Shop:
    return make_shop(store)


def test_next_records_run_while_a_result_is_saved_and_theirs_are_saved_together(
    shop: Shop, store: TogetherResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow this machine is, the second save is not begun before the first one has ended.
    monkeypatch.setattr("taskq_cloud.clients.combining.LONGEST_WAIT_SECONDS", LONG_SECONDS)
    monkeypatch.setattr("taskq_cloud.serverless.sqs_batch.LONGEST_UNSAVED_SECONDS", LONG_SECONDS)
    saving, all_ran = threading.Event(), threading.Event()

    def wait() -> None:
        saving.set()
        all_ran.wait(LONG_SECONDS)

    @shop.app.task(name="last")
    def last() -> None:
        saving.wait(LONG_SECONDS)
        all_ran.set()

    store.about_to_save = wait
    calls = [*(call_of("double", number) for number in range(9)), call_of("last")]
    assert failures(shop.handler(batch(*map(record, calls)), Context())) == []
    assert [shop.app.AsyncResult(call.id).get(1) for call in calls] == [*(2 * number for number in range(9)), None]
    assert sum(map(len, store.saves)) == 10
    assert len(store.saves) == 2


def test_failure_is_recorded_with_the_others(shop: Shop, store: TogetherResults) -> None:
    shop.app.task(name="fail")(lambda: 1 / 0)
    calls = [call_of("double", 1), call_of("fail"), call_of("double", 2)]
    assert failures(shop.handler(batch(*map(record, calls)), Context())) == []
    assert [shop.app.AsyncResult(call.id).state for call in calls] == ["SUCCESS", "FAILURE", "SUCCESS"]


def test_result_of_an_ordered_record_is_saved_before_the_next_one_runs(shop: Shop) -> None:
    records = [record(call_of("double", number), group="a") for number in range(3)]
    assert failures(shop.handler(batch(*records), Context())) == []
    assert shop.ran == [(0, 0), (1, 1), (2, 2)]


def test_results_are_saved_before_a_task_that_may_end_the_function_runs(shop: Shop, store: TogetherResults) -> None:
    records = [record(call_of("double", number), receives=receives) for number, receives in ((1, 1), (2, 1), (3, 2))]
    assert failures(shop.handler(batch(*records), Context())) == []
    number, saved = shop.ran[-1]
    assert number == 3
    assert saved >= 2
    assert store.saves[-1] == ["SUCCESS"]


def test_records_whose_results_could_not_be_saved_are_given_back(shop: Shop, store: TogetherResults) -> None:
    store.failure = Unreachable("the store gives no answer")
    records = [record(call_of("double", number)) for number in range(4)]
    assert failures(shop.handler(batch(*records), Context())) == [each["messageId"] for each in records]
    assert [type(each) for each in shop.broker.settled] == [Release] * 4


def test_save_that_breaks_off_between_records_loses_none_and_runs_none_twice(
    shop: Shop, store: TogetherResults
) -> None:
    calls = [call_of("double", number) for number in range(4)]
    store.breaks_off_after = 2
    assert len(failures(shop.handler(batch(*map(record, calls)), Context()))) == 4
    saved = [number for number, call in enumerate(calls) if shop.app.AsyncResult(call.id).state == "SUCCESS"]
    assert 0 < len(saved) < 4
    store.breaks_off_after = None
    again = [record(call, receives=2) for call in calls]
    assert failures(shop.handler(batch(*again), Context())) == []
    assert [shop.app.AsyncResult(call.id).get(1) for call in calls] == [0, 2, 4, 6]
    assert sorted(number for number, _ in shop.ran) == sorted([*range(4), *({*range(4)} - {*saved})])


def test_result_that_does_not_fit_costs_no_other_record(shop: Shop, store: TogetherResults) -> None:
    calls = [call_of("double", 1), call_of("long"), call_of("double", 2)]
    shop.app.task(name="long")(lambda: "x" * 100)

    def refuse() -> None:
        if any("x" * 100 in each.payload for each in store.given):
            raise PayloadTooLarge("a result is over 90 bytes")

    store.about_to_save = refuse
    assert failures(shop.handler(batch(*map(record, calls)), Context())) == []
    assert [shop.app.AsyncResult(call.id).state for call in calls] == ["SUCCESS", "FAILURE", "SUCCESS"]
    with pytest.raises(PayloadTooLarge):
        shop.app.AsyncResult(calls[1].id).get(1)


def test_result_is_saved_before_the_message_that_follows_is_sent(shop: Shop, store: TogetherResults) -> None:
    call = call_of("double", 1)
    call = replace(call, embed=replace(call.embed, callbacks=[shop.app.tasks["double"].s().to_dict()]))
    saved: list[int] = []
    send = shop.broker.send

    def noting(queue: str, messages: Any) -> Any:
        saved.append(sum(map(len, store.saves)))
        return send(queue, messages)

    shop.broker.send = noting  # type: ignore[method-assign]
    assert failures(shop.handler(batch(record(call), record(call_of("double", 2))), Context())) == []
    assert saved == [1]


@pytest.mark.slow
def test_record_whose_result_is_not_saved_in_time_comes_back(shop: Shop, store: TogetherResults) -> None:
    answered = threading.Event()
    store.about_to_save = lambda: answered.wait(LONG_SECONDS)
    records = [record(call_of("double", number)) for number in range(2)]
    assert failures(shop.handler(batch(*records), Context(3))) == [each["messageId"] for each in records]
    answered.set()


def test_batch_on_dynamodb_takes_few_requests_for_its_results(
    aws_environment: dict[str, str], make_table: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with CallCounter(aws_environment["AWS_ENDPOINT_URL"]) as counter:
        monkeypatch.setenv("AWS_ENDPOINT_URL", counter.endpoint_url)
        app = make_app(worker_patience=0)
        vars(app).update(store=DynamoDBResults(make_table(), "eu-west-1"))
        app.task(name="double")(lambda number: 2 * number)
        handler = app.lambda_handler()
        for attempt in (1, 2):
            calls = [call_of("double", number) for number in range(10)]
            counter.reset()
            assert failures(handler(batch(*map(record, calls)), Context())) == []
            counts = counter.counts()
            assert counts.get("PutItem", 0) + counts["BatchExecuteStatement"] <= 5, f"attempt {attempt}: {counts}"
        assert [app.AsyncResult(call.id).get(1) for call in calls] == [2 * number for number in range(10)]
        app.close()
