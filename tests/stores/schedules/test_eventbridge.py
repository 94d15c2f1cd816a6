"""The EventBridge Scheduler store: its calls, its failures, and schedules that fire on the local stack."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from emulators.aws import REGION
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.flows import Call, CallError, Flow, Trouble, retrying, run
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.ports import ScheduleStore
from taskq_cloud.errors import (
    AccessDenied,
    ImproperlyConfigured,
    OperationalError,
    PayloadTooLarge,
    QuotaExceeded,
    ScheduleGroupNotFound,
    Unreachable,
)
from taskq_cloud.stores.schedules.registry import scheduler_from_url
from taskq_cloud.testing.contracts.schedule_store import ScheduleStoreContract
from tests.stores.recorder import Recorder, failing

ROLE = "arn:aws:iam::123456789012:role/shop-scheduler"
DEAD = "arn:aws:sqs:eu-west-1:123456789012:shop-schedules-dead"
WORK = "arn:aws:sqs:eu-west-1:123456789012:shop-work"
NOON = datetime(2030, 1, 1, 12, 0, 30, tzinfo=UTC)
TIMEOUT_SECONDS = 20


@pytest.mark.slow_async
@pytest.mark.second_stack
class TestEventBridge(ScheduleStoreContract):
    @pytest.fixture
    def store(self, make_schedule_group: Callable[..., str], aws_environment: dict[str, str]) -> ScheduleStore:
        return scheduler_from_url(f"eventbridge://{make_schedule_group()}?role={ROLE}&dead_letter={DEAD}", {})

    @pytest.fixture
    def target(self) -> str:
        return WORK


def schedules(url: str = f"eventbridge://shop?role={ROLE}") -> ScheduleStore:
    return scheduler_from_url(url, {})


def once(**changes: Any) -> PlatformSchedule:
    return replace(PlatformSchedule(name="once", when=NOON, target=WORK, body='{"id": "t-1"}'), **changes)


# Calls


def test_one_off_time_becomes_a_schedule_that_deletes_itself() -> None:
    recorded = Recorder(lambda call: {})
    store = schedules(f"eventbridge://shop?role={ROLE}&dead_letter={DEAD}")
    east = timezone(timedelta(hours=2))

    run(store.put([once(when=NOON.astimezone(east).replace(microsecond=900))]), recorded)

    (call,) = recorded.calls
    token = call.parameters["ClientToken"]
    assert 0 < len(token) <= 64
    assert call == Call(
        "scheduler",
        "create_schedule",
        {
            "Name": "once",
            "GroupName": "shop",
            "ScheduleExpression": "at(2030-01-01T12:00:30)",
            "ScheduleExpressionTimezone": "UTC",
            "ActionAfterCompletion": "DELETE",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "State": "ENABLED",
            "Description": "",
            "Target": {
                "Arn": WORK,
                "Input": '{"id": "t-1"}',
                "RoleArn": ROLE,
                "DeadLetterConfig": {"Arn": DEAD},
            },
            "ClientToken": token,
        },
    )


def test_key_encrypts_schedules_however_they_are_written() -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    store = schedules(f"eventbridge://shop?role={ROLE}&kms_key={key}")
    recorded = Recorder(lambda call: {})
    run(store.put([once(), once(name="cron", when="rate(5 minutes)")]), recorded)
    run(store.put([once()], replace=True), recorded)
    assert [(call.operation, call.parameters["KmsKeyArn"]) for call in recorded.calls] == [
        ("create_schedule", key),
        ("create_schedule", key),
        ("update_schedule", key),
    ]
    assert store.kept(once()).sender != schedules().kept(once()).sender, "a change of the key is applied"


@pytest.mark.parametrize("key", ["1234abcd", "alias/shop", "arn:aws:kms:eu-west-1:123456789012:alias/shop", "arn:x"])
def test_key_that_is_not_an_arn_is_refused(key: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="is not the ARN of a key: write arn:aws:kms"):
        schedules(f"eventbridge://shop?role={ROLE}&kms_key={key}")


def test_repeated_call_keeps_its_client_token_and_a_later_put_gets_a_new_one() -> None:
    """The third of three puts (pause, resume, pause) has the first one's parameters, and must not get its answer."""

    def tokens(enabled: bool) -> set[str]:
        recorded = Recorder(failing("InternalServerException", trouble=Trouble.TRANSIENT))
        (refused,) = run(retrying(schedules().put([once(enabled=enabled)], replace=True)), recorded)
        assert isinstance(refused, Refused)
        assert len(recorded.calls) > 1, "the call was repeated"
        return {call.parameters["ClientToken"] for call in recorded.calls}

    first, second, third = tokens(enabled=False), tokens(enabled=True), tokens(enabled=False)
    assert len(first) == len(second) == len(third) == 1
    assert len(first | second | third) == 3


def test_message_with_attributes_and_group_goes_through_the_universal_target() -> None:
    recorded = Recorder(lambda call: {})
    schedule = once(target=f"{WORK}.fifo", group="tenant", deduplication="t-1:0", attributes={"a": "b"})

    run(schedules().put([schedule]), recorded)

    target = recorded.calls[0].parameters["Target"]
    assert target["Arn"] == "arn:aws:scheduler:::aws-sdk:sqs:sendMessage"
    assert json.loads(target["Input"]) == {
        "QueueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/shop-work.fifo",
        "MessageBody": '{"id": "t-1"}',
        "MessageGroupId": "tenant",
        "MessageDeduplicationId": "t-1:0",
        "MessageAttributes": {"a": {"DataType": "String", "StringValue": "b"}},
    }


def test_conflict_on_create_counts_as_kept_and_put_makes_twenty_calls_at_once() -> None:
    recorded = Recorder(failing("ConflictException"))
    waves = []

    def perform(step: Any) -> Any:
        waves.append(len(step.calls))
        return recorded(step)

    assert run(schedules().put([once(name=f"n{number}") for number in range(25)]), perform) == [None] * 25
    assert waves == [20, 5]


def test_update_is_repeated_while_another_update_is_in_progress() -> None:
    answers = iter(["ConflictException", "ConflictException", None])

    def answer(call: Call) -> Any:
        code = next(answers)
        return CallError(call, code, "being updated", Trouble.REFUSED) if code else {}

    recorded = Recorder(answer)
    assert run(schedules().put([once()], replace=True), recorded) == [None]
    assert recorded.operations == ["update_schedule"] * 3
    assert recorded.pauses == 2


def test_conflict_that_does_not_end_is_an_error() -> None:
    (refused,) = run(schedules().delete(["once"]), Recorder(failing("ConflictException")))
    assert isinstance(refused, Refused)
    assert "schedule once of group 'shop'" in str(refused.error)


def test_page_of_names_has_the_cursor_of_the_next_page() -> None:
    recorded = Recorder(lambda call: {"Schedules": [{"Name": "a"}], "NextToken": "more"})

    page = run(schedules().names("a", limit=500, cursor="here"), recorded)

    assert (page.names, page.cursor) == (["a"], "more")
    assert recorded.calls[0].parameters == {
        "GroupName": "shop",
        "MaxResults": 100,
        "NamePrefix": "a",
        "NextToken": "here",
    }


def test_schedule_of_another_program_is_loaded_unchanged() -> None:
    answer = {
        "Name": "x",
        "ScheduleExpression": "at(2030-01-01T12:00:00)",
        "ScheduleExpressionTimezone": "Asia/Tokyo",
        "Target": {"Arn": "arn:aws:scheduler:::aws-sdk:sqs:sendMessage", "Input": '{"QueueUrl": "elsewhere"}'},
    }
    (found,) = run(schedules().load(["x"]), Recorder(lambda call: answer)).values()
    assert (found.when, found.timezone) == ("at(2030-01-01T12:00:00)", "Asia/Tokyo")
    assert found.target == "arn:aws:scheduler:::aws-sdk:sqs:sendMessage"


# Failures

NOT_ASSUMED = "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
PASS_ROLE = "User: arn:aws:iam::1:user/x is not authorized to perform: iam:PassRole on resource: role"


@pytest.mark.parametrize(
    ("code", "message", "trouble", "kind", "says"),
    [
        ("ResourceNotFoundException", "", "REFUSED", ScheduleGroupNotFound, "create-schedule-group --name shop"),
        (
            "AccessDeniedException",
            "no",
            "REFUSED",
            AccessDenied,
            r"scheduler:CreateSchedule was denied .*schedule/shop/",
        ),
        ("AccessDeniedException", PASS_ROLE, "REFUSED", AccessDenied, f"iam:PassRole on {ROLE} was denied"),
        ("ValidationException", NOT_ASSUMED, "REFUSED", AccessDenied, f"can't use {ROLE} .*trust policy"),
        (
            "ValidationException",
            "Invalid Schedule Expression",
            "REFUSED",
            ImproperlyConfigured,
            "rejected the schedule .*Invalid",
        ),
        ("ServiceQuotaExceededException", "", "REFUSED", QuotaExceeded, "Service Quotas"),
        ("ThrottlingException", "", "THROTTLED", Unreachable, "throttled scheduler:CreateSchedule"),
        ("ConnectTimeoutError", "", "TRANSIENT", Unreachable, "no answer from EventBridge Scheduler"),
        ("ExpiredTokenException", "", "CREDENTIALS", AccessDenied, "credentials were not accepted"),
        ("SomethingNew", "", "REFUSED", OperationalError, "scheduler:CreateSchedule failed .*SomethingNew"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isalpha() else "",
)
def test_error_for_failed_call_says_what_to_do(
    code: str, message: str, trouble: str, kind: type[Exception], says: str
) -> None:
    (refused,) = run(schedules().put([once()]), Recorder(failing(code, message, Trouble[trouble])))
    assert isinstance(refused, Refused)
    assert type(refused.error) is kind
    with pytest.raises(kind, match=f"schedule once of group 'shop' in the default region: .*{says}"):
        raise refused.error


def test_failed_listing_load_and_removal_are_reported() -> None:
    with pytest.raises(ScheduleGroupNotFound, match="group 'shop'"):
        run(schedules().names(), Recorder(failing("ResourceNotFoundException")))
    with pytest.raises(AccessDenied, match="scheduler:GetSchedule was denied"):
        run(schedules().load(["x"]), Recorder(failing("AccessDeniedException")))
    (refused,) = run(schedules().delete(["x"]), Recorder(failing("AccessDeniedException")))
    assert isinstance(refused, Refused)
    assert isinstance(refused.error, AccessDenied)


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"name": "a/b"}, ImproperlyConfigured, "'a/b' is not a valid name"),
        ({"name": "x" * 65}, ImproperlyConfigured, "1 to 64"),
        ({"target": "work"}, ImproperlyConfigured, "'work' is not the ARN of an SQS queue"),
        ({"when": datetime(2030, 1, 1)}, ImproperlyConfigured, "has no time zone"),
        (
            {"when": "cron(" + "1," * 125 + "2 * * * ? *)"},
            ImproperlyConfigured,
            "the expression .* has 267 .* 1 to 256",
        ),
        (
            {"when": "rate(1 hour)", "timezone": "Zone/" * 11},
            ImproperlyConfigured,
            "the time zone .* has 55 .* 1 to 50",
        ),
        ({"window_minutes": 1441}, ImproperlyConfigured, "1 to 1440 minutes"),
        ({"group": "ü"}, ImproperlyConfigured, "message group 'ü'"),
        ({"body": '"' * 200_000, "attributes": {"a": "b"}}, PayloadTooLarge, "has 400... bytes, .* at most 262144"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_invalid_schedule_is_refused_without_a_call(changes: dict[str, Any], kind: type[Exception], says: str) -> None:
    recorded = Recorder(lambda call: {})
    refused, kept = run(schedules().put([once(**changes), once()]), recorded)
    assert isinstance(refused, Refused)
    assert kept is None
    assert len(recorded.calls) == 1
    with pytest.raises(kind, match=says):
        raise refused.error


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("eventbridge://?role=x", "doesn't name a schedule group"),
        ("eventbridge://shop", "role='' is not the ARN"),
        (f"eventbridge://shop/more?role={ROLE}", "doesn't name a schedule group"),
        ("eventbridge://shop?role=arn:aws:sqs:eu-west-1:1:x", "is not the ARN of an IAM role"),
        (f"eventbridge://shop?role={ROLE}&dead_letter={WORK}.fifo", "is not the ARN of a standard SQS queue"),
        (f"eventbridge://sh%20op?role={ROLE}", "'sh op' is not a valid name"),
        (f"eventbridge://shop?roll={ROLE}", "unknown option 'roll'"),
    ],
)
def test_invalid_url_is_refused_with_the_reason(url: str, says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        schedules(url)


# On the stack


@pytest.fixture
def stack(
    make_schedule_group: Callable[..., str], aws_environment: dict[str, str]
) -> Iterator[tuple[ScheduleStore, Callable[[Flow[Any]], Any]]]:
    store = scheduler_from_url(f"eventbridge://{make_schedule_group()}?role={ROLE}&region={REGION}", {})
    connections = Connections(store.services)
    yield store, connections.run
    connections.close()


def received(sqs_client: Any, url: str) -> Any:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        answer = sqs_client.receive_message(
            QueueUrl=url, WaitTimeSeconds=1, MessageAttributeNames=["All"], AttributeNames=["All"]
        )
        if answer.get("Messages"):
            return answer["Messages"][0]
    raise AssertionError("no message arrived")


@pytest.mark.needs("fires_schedules")
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("work", {}),
        ("work", {"attributes": {"tenant": "a"}}),
        ("work.fifo", {"group": "g", "deduplication": "d-1"}),
    ],
    ids=["plain", "attributes", "ordered"],
)
def test_one_off_schedule_sends_its_message_and_is_removed(
    stack: tuple[ScheduleStore, Callable[[Flow[Any]], Any]],
    make_queue: Callable[..., str],
    sqs_client: Any,
    name: str,
    changes: dict[str, Any],
) -> None:
    store, drive = stack
    url = sqs_client.get_queue_url(QueueName=make_queue(name))["QueueUrl"]
    arn = sqs_client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    body = json.dumps({"id": 'grüße "1"'})

    assert drive(store.put([once(when=datetime.now(UTC), target=arn, body=body, **changes)])) == [None]

    message = received(sqs_client, url)
    assert message["Body"] == body
    attributes = {key: each["StringValue"] for key, each in message.get("MessageAttributes", {}).items()}
    assert attributes == changes.get("attributes", {})
    assert message["Attributes"].get("MessageGroupId") == changes.get("group")
    assert message["Attributes"].get("MessageDeduplicationId") == changes.get("deduplication")
    assert drive(store.load(["once"])) == {}
