"""Tests of SQS's answers that no local stack gives: failed parts of a batch, refusals, other producers' messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from taskq_cloud.brokers import _sqs_messages as messages
from taskq_cloud.brokers._sqs_options import SQSOptions
from taskq_cloud.brokers.sqs import SQSBroker
from taskq_cloud.core import flows
from taskq_cloud.core.backoff import DEFAULT_BACKOFF
from taskq_cloud.core.flows import CallError, Gather, Trouble
from taskq_cloud.core.model.message import (
    DEAD_LETTER_REASON,
    DEAD_LETTER_SOURCE,
    Acknowledge,
    DeadLetter,
    Delivery,
    Outgoing,
    Refused,
    Release,
    Sent,
)
from taskq_cloud.errors import (
    AccessDenied,
    ImproperlyConfigured,
    OperationalError,
    PayloadTooLarge,
    QueueNotFound,
    Unreachable,
)
from tests.brokers.sqs_script import Script, accept_all, failing, refusing

MEBIBYTE = 1_048_576


def _outgoing(*texts: str, group: str | None = None) -> list[Outgoing]:
    return [Outgoing(body=text, group=group) for text in texts]


def _texts(batches: Sequence[Sequence[Mapping[str, Any]]]) -> list[list[str]]:
    return [[each["MessageBody"] for each in batch] for batch in batches]


def _delivery(receipt: str = "r", queue: str = "work", **fields: Any) -> Delivery:
    return Delivery(queue=queue, message_id="m", receipt=receipt, body=fields.pop("body", "x"), **fields)


def test_only_entries_failed_by_sqss_fault_are_sent_again() -> None:
    script = Script([refusing("b", "c", code="InternalError", sender_fault=False)])
    answers = script.run(SQSBroker().send("work", _outgoing("a", "b", "c", "d")))
    assert answers == [Sent("a"), Sent("b"), Sent("c"), Sent("d")]
    assert _texts(script.batches) == [["a", "b", "c", "d"], ["b", "c"]]
    assert script.sleeps == 1


def test_entry_that_keeps_failing_is_refused_after_five_calls() -> None:
    script = Script([refusing("b", code="InternalError", sender_fault=False)] * 100)
    first, second = script.run(SQSBroker().send("work", _outgoing("a", "b")))
    assert first == Sent("a")
    assert isinstance(second.error, Unreachable)
    assert "queue 'work': sqs:SendMessage failed (InternalError: why)" in str(second.error)
    assert len(script.batches) == DEFAULT_BACKOFF.attempts


def test_entry_failed_by_the_senders_fault_is_refused_at_once() -> None:
    script = Script([refusing("b", code="InvalidMessageContents", sender_fault=True)])
    first, second = script.run(SQSBroker().send("work", _outgoing("a", "b")))
    assert first == Sent("a")
    assert type(second.error) is OperationalError
    assert "InvalidMessageContents" in str(second.error)
    assert len(script.batches) == 1


def test_entry_missing_in_the_answer_is_sent_again() -> None:
    script = Script([lambda entries: accept_all(entries[:1])])
    assert script.run(SQSBroker().send("work", _outgoing("a", "b"))) == [Sent("a"), Sent("b")]
    assert _texts(script.batches) == [["a", "b"], ["b"]]


def test_failed_call_refuses_its_own_messages_only() -> None:
    script = Script([accept_all, failing("InternalFailure", "broken", Trouble.TRANSIENT)])
    answers = script.run(SQSBroker().send("work", _outgoing(*(str(number) for number in range(12)))))
    assert answers[:10] == [Sent(str(number)) for number in range(10)]
    assert [type(each.error) for each in answers[10:]] == [Unreachable, Unreachable]


@pytest.mark.parametrize(
    ("failure", "kind", "text"),
    [
        (failing("AccessDenied", "not yours", Trouble.REFUSED), AccessDenied, "sqs:SendMessage was denied .*IAM"),
        (failing("ExpiredToken", "old", Trouble.CREDENTIALS), AccessDenied, "credentials were not accepted"),
        (failing("RequestThrottled", "slow", Trouble.THROTTLED), Unreachable, "throttled sqs:SendMessage"),
        (failing("EndpointConnectionError", "no", Trouble.TRANSIENT), Unreachable, "SQS in eu-west-1"),
        (failing("UnsupportedOperation", "no", Trouble.REFUSED), OperationalError, "UnsupportedOperation: no"),
        (failing("QueueDoesNotExist", "no", Trouble.REFUSED), QueueNotFound, "does not exist in eu-west-1"),
    ],
)
def test_failure_of_every_call_is_raised(failure: Callable[..., Any], kind: type[Exception], text: str) -> None:
    broker = SQSBroker(SQSOptions(region="eu-west-1"))
    with pytest.raises(OperationalError, match=rf"queue 'work'.*{text}") as caught:
        Script([failure] * 2).run(broker.send("work", _outgoing(*"abcdefghijkl")))
    assert type(caught.value) is kind
    assert isinstance(caught.value.__cause__, CallError)


def test_purge_repeated_within_a_minute_says_to_wait() -> None:
    failure = failing("AWS.SimpleQueueService.PurgeQueueInProgress", "Only one", Trouble.REFUSED)
    with pytest.raises(OperationalError, match=r"queue 'work' was purged less than 60 s ago.*wait"):
        Script([failure]).run(SQSBroker().purge("work"))


def test_batch_is_divided_by_size() -> None:
    half = "x" * (MEBIBYTE // 2)
    script = Script()
    script.run(SQSBroker().send("work", _outgoing(half, half, "y", half)))
    assert [[len(text) for text in batch] for batch in _texts(script.batches)] == [
        [MEBIBYTE // 2, MEBIBYTE // 2],
        [1, MEBIBYTE // 2],
    ]


def test_size_counts_an_attributes_name_type_and_value() -> None:
    fits = Outgoing(body="x" * (MEBIBYTE - len("nameStringü".encode())), attributes={"name": "ü"})
    over = Outgoing(body=fits.body + "x", attributes=fits.attributes)
    sent, refused = Script().run(SQSBroker().send("work", [fits, over]))
    assert isinstance(sent, Sent)
    assert isinstance(refused.error, PayloadTooLarge)
    assert str(MEBIBYTE + 1) in str(refused.error)


def test_message_that_was_not_accepted_stops_its_group() -> None:
    texts = [f"{group}{number}" for number in range(10) for group in "ab"]
    script = Script([refusing("a3", code="InvalidMessageContents", sender_fault=True)])
    answers = script.run(SQSBroker().send("work.fifo", [Outgoing(body=text, group=text[0]) for text in texts]))
    assert _texts(script.batches) == [texts[:10], [text for text in texts[10:] if text[0] == "b"]]
    refused = [text for text, answer in zip(texts, answers, strict=True) if isinstance(answer, Refused)]
    assert refused == ["a3", "a5", "a6", "a7", "a8", "a9"]


def test_calls_to_an_ordered_queue_are_made_one_after_the_other() -> None:
    steps: list[Any] = []

    def perform(step: Any) -> Any:
        steps.append(step)
        if isinstance(step, Gather):
            return [accept_all(call.parameters["Entries"]) for call in step.calls]
        return {"QueueUrl": "u"}

    flows.run(SQSBroker().send("work.fifo", _outgoing(*"abcdefghijklmnopqrstu")), perform)
    assert [len(step.calls) for step in steps if isinstance(step, Gather)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("queue", "outgoing", "expected"),
    [
        ("work", Outgoing(body="x"), {}),
        ("work", Outgoing(body="x", delay_seconds=1.2), {"DelaySeconds": 2}),
        ("work", Outgoing(body="x", group="tenant", deduplication="d"), {"MessageGroupId": "tenant"}),
        (
            "work.fifo",
            Outgoing(body="x", deduplication="d"),
            {"MessageGroupId": "default", "MessageDeduplicationId": "d"},
        ),
        (
            "work.fifo",
            Outgoing(body="x", group="g", deduplication="ü" * 200),
            {
                "MessageGroupId": "g",
                "MessageDeduplicationId": "cb26b0de5a63c843909f2a32874407b349954efb4416f246d56a772ac291eb19",
            },
        ),
        (
            "work",
            Outgoing(body="x", trace_header="Root=1", attributes={"a": "1"}),
            {
                "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}},
                "MessageAttributes": {"a": {"DataType": "String", "StringValue": "1"}},
            },
        ),
    ],
)
def test_message_becomes_an_entry(queue: str, outgoing: Outgoing, expected: dict[str, Any]) -> None:
    parameters = dict(messages.entry_to_send(0, queue, outgoing).parameters)
    assert parameters.pop("MessageBody") == "x"
    assert parameters == expected


def test_messages_without_a_deduplication_id_get_different_ones() -> None:
    first, second = (
        messages.entry_to_send(0, "work.fifo", Outgoing(body="x")).parameters["MessageDeduplicationId"]
        for _ in range(2)
    )
    assert first != second


@pytest.mark.parametrize(
    ("queue", "outgoing", "text"),
    [
        ("work", Outgoing(body="x", delay_seconds=900.5), "900.5 s exceeds SQS's 900 s"),
        ("work.fifo", Outgoing(body="x", delay_seconds=1), "a single message of a FIFO queue"),
        ("work", Outgoing(body="x", group="zwölf"), "message group 'zwölf'"),
        ("work", Outgoing(body="x", group="g" * 129), "1 to 128"),
        ("work", Outgoing(body="x", attributes={str(number): "x" for number in range(11)}), "11 attributes"),
        ("work", Outgoing(body="\ud800"), "UTF-8"),
    ],
)
def test_message_that_sqs_cannot_carry_is_refused_before_sending(queue: str, outgoing: Outgoing, text: str) -> None:
    script = Script()
    sent, refused = script.run(SQSBroker().send(queue, [Outgoing(body="fine"), outgoing]))
    assert isinstance(sent, Sent)
    assert isinstance(refused.error, OperationalError | ImproperlyConfigured)
    assert queue in str(refused.error)
    assert text in str(refused.error)
    assert _texts(script.batches) == [["fine"]]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ReceiptHandleIsInvalid", "The input receipt handle is invalid."),
        (
            "InvalidParameterValue",
            "Value r for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired",
        ),
        (
            "InvalidParameterValue",
            "Value r for parameter ReceiptHandle is invalid. Reason: Message is not available for visibility change.",
        ),
        (
            "InvalidParameterValueException",
            "Value r for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired",
        ),
        ("MessageNotInflight", "The specified message isn't in flight."),
    ],
)
@pytest.mark.parametrize("sender_fault", [True, False])
def test_lost_lease_counts_as_settled_but_not_as_extended(code: str, message: str, sender_fault: bool) -> None:
    answer = refusing("r", code=code, message=message, sender_fault=sender_fault)
    assert Script([answer]).run(SQSBroker().settle([Acknowledge(_delivery())])) == [None]
    assert Script([answer]).run(SQSBroker().settle([Release(_delivery())])) == [None]
    script = Script([answer])
    [refused] = script.run(SQSBroker().extend([_delivery()], 60))
    assert script.sleeps == 0
    assert "the lease of message m is lost" in str(refused.error)
    assert "'work'" in str(refused.error)


@pytest.mark.parametrize("code", ["InvalidParameterValue", "InvalidParameterValueException"])
def test_lease_beyond_twelve_hours_is_refused_but_not_lost(code: str) -> None:
    answer = refusing(
        "r",
        code=code,
        message="Value 60 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message"
        " is beyond the limit [43200 seconds]",
        sender_fault=True,
    )
    for flow in (SQSBroker().settle([Release(_delivery(), 60)]), SQSBroker().extend([_delivery()], 60)):
        [refused] = Script([answer]).run(flow)
        assert "beyond the limit" in str(refused.error)


def test_failed_settling_call_is_the_answer_for_its_deliveries() -> None:
    script = Script([failing("AccessDenied", "no", Trouble.REFUSED)])
    [refused] = script.run(SQSBroker().settle([Acknowledge(_delivery())]))
    assert isinstance(refused.error, AccessDenied)
    assert "sqs:DeleteMessage" in str(refused.error)


def test_visibility_timeout_is_whole_seconds_up_to_twelve_hours() -> None:
    script = Script()
    script.run(SQSBroker().extend([_delivery()], 0.5))
    script.run(SQSBroker().extend([_delivery()], 100_000))
    assert [batch[0]["VisibilityTimeout"] for batch in script.batches] == [1, 43_200]


def test_dead_letter_without_room_for_its_reason_is_sent_without_it() -> None:
    full = _delivery(body="x" * MEBIBYTE)
    tight = _delivery(body="x" * (MEBIBYTE - 100))
    for delivery, names in ((full, set()), (tight, {DEAD_LETTER_SOURCE, DEAD_LETTER_REASON})):
        script = Script()
        assert script.run(SQSBroker().settle([DeadLetter(delivery, "ü" * 5_000)])) == [None]
        [sent], [deleted] = script.batches
        assert sent["MessageAttributes"].keys() == names if names else "MessageAttributes" not in sent
        assert deleted["ReceiptHandle"] == "r"


def test_dead_letters_reason_has_legal_characters_and_a_limit() -> None:
    attributes = {str(number): "x" for number in range(10)}
    letter = messages.dead_letter(_delivery(attributes=attributes, group="g"), "bad \x00\ud800 byte" + "!" * 5_000)
    assert letter.attributes[DEAD_LETTER_REASON].startswith("bad \ufffd\ufffd byte!!!")
    assert len(letter.attributes[DEAD_LETTER_REASON]) == messages.LONGEST_REASON_CHARACTERS
    assert letter.attributes[DEAD_LETTER_SOURCE] == "work"
    assert len(letter.attributes) == messages.MOST_ATTRIBUTES
    assert (letter.group, letter.deduplication) == ("g", "m")


def test_message_of_another_producer_becomes_a_delivery() -> None:
    message = {
        "MessageId": "m",
        "ReceiptHandle": "r",
        "Body": "x",
        "Attributes": {"ApproximateReceiveCount": "3", "SentTimestamp": "1700000000123", "MessageGroupId": "tenant"},
        "MessageAttributes": {
            "text": {"DataType": "String.custom", "StringValue": "a"},
            "number": {"DataType": "Number", "StringValue": "1"},
            "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
        },
    }
    script = Script([lambda entries: {"Messages": [message]}])
    [delivery] = script.run(SQSBroker(clock=lambda: 1_700_000_001.0).receive("work", 25, 60, 30.5))
    assert delivery == Delivery(
        queue="work",
        message_id="m",
        receipt="r",
        body="x",
        receive_count=3,
        sent_at=1_700_000_000.123,
        received_at=1_700_000_001.0,
        lease_seconds=30.5,
        group="tenant",
        attributes={"text": "a", "number": "1", "bytes": "AAE="},
    )
    parameters = messages.receive_parameters("u", 25, 60, 30.5)
    assert (parameters["MaxNumberOfMessages"], parameters["WaitTimeSeconds"], parameters["VisibilityTimeout"]) == (
        10,
        20,
        31,
    )
