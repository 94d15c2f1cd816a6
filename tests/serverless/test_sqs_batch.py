"""Test batches of SQS records without Lambda and SQS: the outcome of each record, and the handler's answer."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq_cloud import BoundTask
from taskq_cloud.core.flows import Flow, Sleep
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, Acknowledge, DeadLetter, Release
from taskq_cloud.core.records.record import Record
from taskq_cloud.errors import Unreachable, WorkerLostError
from taskq_cloud.serverless.sqs_batch import delivery_of, naming_of, sqs_records
from taskq_cloud.stores.results.disabled import DisabledResults
from tests.serverless.events import Context, NotingBroker, Shop, batch, call_of, failures, make_app, record


def test_record_becomes_a_delivery() -> None:
    given = record("{}", message_id="m", receives=3, group="g", attributes={"colour": "red"})
    delivery = delivery_of(given, naming_of(NotingBroker()), 5.0)
    assert delivery.queue == "work.fifo"
    assert (delivery.message_id, delivery.receipt, delivery.body) == ("m", "receipt-of-m", "{}")
    assert (delivery.receive_count, delivery.group) == (3, "g")
    assert (delivery.sent_at, delivery.received_at, delivery.lease_seconds) == (1700000000.123, 5.0, None)
    assert delivery.attributes == {"colour": "red"}


@pytest.mark.parametrize("event", [{}, {"Records": [{"eventSource": "aws:s3"}]}, {"Records": "x"}, [], "text", None])
def test_event_without_sqs_records_is_not_a_batch(event: Any) -> None:
    assert sqs_records(event) is None


def test_empty_batch_is_answered(shop: Shop) -> None:
    assert failures(shop.handler({"Records": []}, Context())) == []


S3_TEST = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2030-01-31T12:00:00.000Z", "Bucket": "photos"}


@pytest.mark.parametrize(
    "body",
    [S3_TEST, {"Type": "Notification", "TopicArn": "a:uploads", "Message": json.dumps(S3_TEST)}, {"Records": []}],
    ids=["queue", "topic", "empty list"],
)
def test_message_by_which_no_task_is_meant_is_acknowledged(body: dict[str, Any]) -> None:
    app = make_app(task_event_routes={"*": "on_event"})
    app.task(name="on_event")(lambda event: pytest.fail(f"ran for {event}"))
    handler = app.lambda_handler()
    assert failures(handler(batch(record(json.dumps(body))), Context())) == []
    assert vars(app)["broker"].settled == []
    if "Type" in body:
        sns = {"Records": [{"EventSource": "aws:sns", "Sns": body}]}
        assert handler(sns, Context())["status"] == "IGNORED"


def test_finished_records_are_not_listed_as_failures(shop: Shop) -> None:
    calls = [call_of("add", 1), call_of("aadd", 2), call_of("fail", 3), call_of("again", 4), call_of("aadd", 5)]
    answer = shop.handler(batch(*map(record, calls)), Context())
    assert failures(answer) == []
    assert shop.ran == [1, 2, 3, 4, 5]
    assert shop.broker.settled == []
    results = [shop.app.AsyncResult(call.id) for call in calls]
    assert [result.state for result in results] == ["SUCCESS", "SUCCESS", "FAILURE", "RETRY", "SUCCESS"]
    ((queue, retry),) = shop.broker.sent
    assert queue == "work"
    assert retry.delay_seconds == pytest.approx(7, abs=1)


@pytest.mark.slow
def test_record_that_waits_for_another_is_decided_upon_when_its_turn_comes(shop: Shop) -> None:
    revoked, expires = call_of("add", 2), replace(call_of("add", 3), expires=datetime.now(UTC) + timedelta(seconds=1))

    @shop.app.task(name="takes_time")
    def takes_time() -> None:
        assert shop.app.AsyncResult(revoked.id).revoke()
        time.sleep(1.01)

    calls = [call_of("takes_time"), revoked, expires, call_of("add", 4)]
    assert failures(shop.handler(batch(*map(record, calls)), Context())) == []
    assert shop.ran == [4]
    states = [shop.app.AsyncResult(call.id).state for call in calls]
    assert states == ["SUCCESS", "REVOKED", "REVOKED", "SUCCESS"]


def test_errback_that_takes_the_error_is_called_in_the_function(shop: Shop) -> None:
    heard: list[Any] = []

    @shop.app.task(name="called")
    def called(request: Any, exc: Exception, traceback: str) -> None:
        heard.append((request.id, exc, "in fail" in traceback))

    shop.app.tasks["fail"].s(3).link_error(called.s()).apply_async(task_id="f")
    ((_, message),) = shop.broker.sent
    assert failures(shop.handler(batch(record(message.body)), Context())) == []
    ((failed, error, traced),) = heard
    assert (failed, type(error), error.args, traced) == ("f", ValueError, (3,), True)
    assert len(shop.broker.sent) == 1


def test_errback_without_enough_time_is_called_on_the_next_receive(shop: Shop) -> None:
    heard: list[Any] = []

    @shop.app.task(name="called", time_limit=30)
    def called(request: Any, exc: Exception, traceback: str) -> None:
        heard.append(request.id)

    shop.app.tasks["fail"].s(3).link_error(called.s()).apply_async(task_id="f")
    ((_, message),) = shop.broker.sent
    context = Context(40)

    @shop.app.task(name="takes_time")
    def takes_time() -> None:
        context.seconds = 20

    event = batch(record(call_of("takes_time")), record(message.body, message_id="m"))
    assert failures(shop.handler(event, context)) == ["m"]
    assert (shop.app.AsyncResult("f").state, heard) == ("FAILURE", [])
    assert failures(shop.handler(batch(record(message.body, message_id="m", receives=2)), Context(60))) == []
    assert (heard, shop.ran) == (["f"], [3])


def test_unreadable_record_is_dead_lettered_and_not_listed(shop: Shop) -> None:
    answer = shop.handler(batch(record("{", message_id="bad"), record(call_of("add", 1))), Context())
    assert failures(answer) == []
    (settled,) = shop.broker.settled
    assert isinstance(settled, DeadLetter)
    assert settled.delivery.message_id == "bad"
    assert "DecodeError" in settled.reason
    assert shop.ran == [1]


def test_record_that_cannot_be_dead_lettered_is_listed_and_logged(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.broker.refused = {"bad"}
    assert failures(shop.handler(batch(record("{", message_id="bad")), Context())) == ["bad"]
    (line,) = [line for line in caplog.records if getattr(line, "action", "") == "lambda.settle_failed"]
    assert "could not be dead-lettered" in line.getMessage()
    assert vars(line)["message_id"] == "bad"


@pytest.mark.parametrize("failure", [Unreachable("no answer"), RuntimeError("a bug")])
def test_broker_that_settles_nothing_does_not_prevent_the_answer(shop: Shop, failure: Exception) -> None:
    shop.broker.failure = failure
    event = batch(
        record(call_of("add", 1), message_id="good"),
        record("{", message_id="bad"),
        record(call_of("unknown"), message_id="odd"),
    )
    assert failures(shop.handler(event, Context())) == ["bad", "odd"]


def test_unknown_task_is_released_with_a_delay(shop: Shop) -> None:
    answer = shop.handler(batch(record(call_of("unknown"), message_id="odd")), Context())
    assert failures(answer) == ["odd"]
    (settled,) = shop.broker.settled
    assert isinstance(settled, Release)
    assert settled.after_seconds == 30


def test_dead_letters_are_settled_before_releases(shop: Shop) -> None:
    shop.handler(batch(record(call_of("unknown")), record("{")), Context())
    assert [type(each) for each in shop.broker.settled] == [DeadLetter, Release]


def test_redriven_message_runs_again(shop: Shop) -> None:
    call = call_of("fail", 1)
    shop.handler(batch(record(call)), Context())
    shop.handler(batch(record(call, attributes={DEAD_LETTER_REASON: "x"})), Context())
    assert shop.ran == [1, 1]


def test_fault_of_the_package_costs_one_record(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = shop.app.store.save

    def save(records: Sequence[Record]) -> Flow[Any]:
        if "poison" in records[0].payload:
            raise RuntimeError("a bug")
        return (yield from real(records))

    monkeypatch.setattr(shop.app.store, "save", save)
    event = batch(
        record(call_of("add", "poison"), message_id="bad"),
        {**record(call_of("add", 2), message_id="worse"), "eventSourceARN": None},
        record(call_of("add", 3), message_id="good"),
    )
    assert failures(shop.handler(event, Context())) == ["bad", "worse"]
    assert shop.ran == ["poison", 3]
    assert [(each.delivery.message_id, each.after_seconds) for each in shop.broker.settled] == [("bad", 10)]
    logged = [line for line in caplog.records if line.exc_info]
    assert [(vars(line)["action"], vars(line)["message_id"]) for line in logged] == [
        ("lambda.record_failed", "worse"),
        ("message.crashed", "bad"),
    ]


@pytest.mark.usefixtures("no_garbage_collection")
class TestTime:
    def test_record_whose_limit_does_not_fit_and_all_later_records_are_released(
        self, shop: Shop, caplog: pytest.LogCaptureFixture
    ) -> None:
        context = Context(60)

        @shop.app.task(name="dawdle")
        def dawdle() -> None:
            context.seconds -= 40

        event = batch(
            record(call_of("slow", 1), message_id="a"),
            record(call_of("dawdle"), message_id="b"),
            record(call_of("slow", 2), message_id="c"),
            record(call_of("add", 3), message_id="d"),
        )
        assert failures(shop.handler(event, context)) == ["c", "d"]
        assert shop.ran == [1]
        assert [(each.delivery.message_id, each.after_seconds) for each in shop.broker.settled] == [("c", 0), ("d", 0)]
        assert "lambda.records_not_begun" in [getattr(line, "action", "") for line in caplog.records]
        (line,) = [line for line in caplog.records if getattr(line, "action", "") == "task.given_back"]
        said = "given back: it may take 30 s, and the invocation has 18.0 s left for tasks"
        assert line.getMessage().endswith(said)

    @pytest.mark.parametrize(("seconds", "ran"), [(10.0, []), (14.0, [1])])
    def test_time_limit_of_the_message_overrides_the_tasks(self, shop: Shop, seconds: float, ran: list[int]) -> None:
        context = Context(60)

        @shop.app.task(name="dawdle")
        def dawdle() -> None:
            context.seconds = seconds

        shop.handler(batch(record(call_of("dawdle")), record(call_of("slow", 1, timelimit=(10, None)))), context)
        assert shop.ran == ran

    def test_records_are_not_read_when_no_time_is_left(self, shop: Shop) -> None:
        context = Context(60)

        @shop.app.task(name="dawdle")
        def dawdle() -> None:
            context.seconds = 2.1

        event = batch(record(call_of("dawdle")), record("{", message_id="a"), record(call_of("add", 1), message_id="b"))
        assert failures(shop.handler(event, context)) == ["a", "b"]
        assert [type(each) for each in shop.broker.settled] == [Release, Release]

    def test_task_without_limit_runs_within_lambdas_default_timeout(self, shop: Shop) -> None:
        assert failures(shop.handler(batch(record(call_of("add", 1))), Context(2.95))) == []
        assert shop.ran == [1]

    def test_task_longer_than_the_function_is_released_while_others_run(
        self, shop: Shop, caplog: pytest.LogCaptureFixture
    ) -> None:
        event = batch(record(call_of("slow", 1), message_id="a", receives=3), record(call_of("add", 2), message_id="b"))
        assert failures(shop.handler(event, Context(20))) == ["a"]
        assert shop.ran == [2]
        (settled,) = shop.broker.settled
        assert isinstance(settled, Release)
        assert settled.after_seconds == 4
        (line,) = [line for line in caplog.records if getattr(line, "action", "") == "task.never_fits"]
        assert "raise the function's timeout to at least 33 s" in line.getMessage()

    def test_task_longer_than_the_function_is_dead_lettered_on_its_last_receive(self, shop: Shop) -> None:
        call = call_of("slow", 1)
        assert failures(shop.handler(batch(record(call, receives=5)), Context(20))) == []
        (settled,) = shop.broker.settled
        assert isinstance(settled, DeadLetter)
        assert "raise the function's timeout" in settled.reason
        assert shop.app.AsyncResult(call.id).state == "FAILURE"

    def test_task_over_its_limit_fails_and_the_next_runs(self, shop: Shop) -> None:
        call = call_of("wait", timelimit=(0.05, None))

        @shop.app.task(name="wait")
        async def wait() -> None:
            await asyncio.sleep(60)

        assert failures(shop.handler(batch(record(call), record(call_of("aadd", 1))), Context())) == []
        assert shop.app.AsyncResult(call.id).state == "FAILURE"
        assert "TimeLimitExceeded" in shop.app.AsyncResult(call.id).load().document["result"]["exc_type"]
        assert shop.ran == [1]

    def test_task_that_outlasts_the_function_fails_on_its_last_receive(self, shop: Shop) -> None:
        call = call_of("wait")

        @shop.app.task(name="wait")
        def wait() -> None:
            threading.Event().wait(60)

        assert failures(shop.handler(batch(record(call, message_id="a")), Context(2.6))) == ["a"]
        (settled,) = shop.broker.settled
        assert isinstance(settled, Release)
        assert settled.after_seconds == 1
        assert failures(shop.handler(batch(record(call, message_id="a", receives=5)), Context(2.6))) == []
        result = shop.app.AsyncResult(call.id)
        assert result.state == "FAILURE"
        with pytest.raises(WorkerLostError, match="the function's time was over"):
            result.get()

    def test_hanging_store_does_not_prevent_the_answer(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def save(_records: Sequence[Record]) -> Flow[Any]:
            yield Sleep(60)

        monkeypatch.setattr(shop.app.store, "save", save)
        event = batch(
            record(call_of("add", 1, ignore_result=True), message_id="a"),
            record(call_of("add", 2), message_id="b"),
            record(call_of("add", 3), message_id="c"),
        )
        assert failures(shop.handler(event, Context(2.6))) == ["b", "c"]
        assert shop.ran == [1, 2]
        assert "lambda.out_of_time" in [getattr(line, "action", "") for line in caplog.records]


class TestGroups:
    def test_released_record_blocks_its_group_for_the_same_time(self, shop: Shop) -> None:
        event = batch(
            record(call_of("add", 1), message_id="a1", group="a"),
            record(call_of("unknown"), message_id="a2", group="a"),
            record(call_of("add", 2), message_id="b1", group="b"),
            record(call_of("add", 3), message_id="a3", group="a"),
            record(call_of("add", 4), message_id="b2", group="b"),
        )
        assert failures(shop.handler(event, Context())) == ["a2", "a3"]
        assert shop.ran == [1, 2, 4]
        assert [(each.delivery.message_id, each.after_seconds) for each in shop.broker.settled] == [
            ("a2", 30),
            ("a3", 30),
        ]

    def test_group_goes_on_after_dead_letter_and_failure(self, shop: Shop) -> None:
        event = batch(
            record("{", group="a"), record(call_of("fail", 1), group="a"), record(call_of("add", 2), group="a")
        )
        assert failures(shop.handler(event, Context())) == []
        assert shop.ran == [1, 2]

    def test_fault_of_the_package_blocks_the_group(self, shop: Shop) -> None:
        event = batch(
            {**record(call_of("add", 1), message_id="a1", group="a"), "receiptHandle": None, "body": None},
            record(call_of("add", 2), message_id="a2", group="a"),
        )
        assert failures(shop.handler(event, Context())) == ["a1", "a2"]
        assert shop.ran == []

    def test_released_record_on_standard_queue_blocks_no_group(self, shop: Shop) -> None:
        standard = [record(call_of(name, 1)) for name in ("unknown", "add")]
        for each in standard:
            each["attributes"]["MessageGroupId"] = "tenant"
        assert failures(shop.handler(batch(*standard), Context())) == [standard[0]["messageId"]]
        assert shop.ran == [1]


def test_handler_without_context_runs_without_limits(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert failures(shop.handler(batch(record(call_of("slow", 1))), None)) == []
    assert shop.ran == [1]


def test_nothing_is_encoded_for_a_store_that_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    app.task(name="add")(lambda number: number)
    vars(app).update(store=DisabledResults())
    saved: list[Record] = []
    monkeypatch.setattr(app.store, "save", saved.extend)
    assert failures(app.lambda_handler()(batch(record(call_of("add", 1))), Context())) == []
    assert saved == []


def test_record_is_deleted_before_its_task_runs_without_acks_late(shop: Shop) -> None:
    settled: list[int] = []

    @shop.app.task(name="early", acks_late=False)
    def early() -> None:
        settled.append(len(shop.broker.settled))

    call = call_of("early")
    assert failures(shop.handler(batch(record(call), record(call_of("add", 1))), Context())) == []
    assert settled == [1]
    assert [type(each) for each in shop.broker.settled] == [Acknowledge]
    assert shop.app.AsyncResult(call.id).state == "SUCCESS"


def test_task_without_enough_time_is_given_back_and_not_acknowledged(shop: Shop) -> None:
    shop.app.task(name="early", time_limit=30, acks_late=False)(lambda: pytest.fail("ran"))
    context = Context(40)
    shop.app.task(name="takes_time")(lambda: setattr(context, "seconds", 20))
    assert len(failures(shop.handler(batch(record(call_of("takes_time")), record(call_of("early"))), context))) == 1
    assert not any(isinstance(each, Acknowledge) for each in shop.broker.settled)


def test_failed_record_without_acks_on_failure_is_dead_lettered(shop: Shop) -> None:
    @shop.app.task(name="strict", acks_on_failure=False)
    def strict() -> None:
        raise ValueError("no such user")

    assert failures(shop.handler(batch(record(call_of("strict"))), Context())) == []
    (dead,) = shop.broker.settled
    assert isinstance(dead, DeadLetter)
    assert dead.reason == "ValueError: no such user"


def test_retry_of_an_urgent_task_goes_to_the_queue_of_its_level() -> None:
    app = make_app(task_queue_max_priority=9, result_extended=True)
    routed: list[Any] = []

    @app.task(name="again", bind=True)
    def again(self: BoundTask) -> None:
        routed.append(self.request.delivery_info["routing_key"])
        self.retry(countdown=5)

    call = replace(call_of("again"), priority=9)
    assert failures(app.lambda_handler()(batch(record(call, queue="shop-work-p2")), Context())) == []
    ((queue, _),) = vars(app)["broker"].sent
    assert (queue, routed, app.AsyncResult(call.id).queue) == ("work-p2", ["work"], "work")
