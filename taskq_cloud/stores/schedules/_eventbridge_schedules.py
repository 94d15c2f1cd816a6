"""Converts schedules to the parameters of EventBridge Scheduler's calls, and reads schedules from its answers.

A plain message goes to the queue through SQS's templated target, which carries only a body. A message with attributes,
a deduplication id or the group of a fair queue goes through the universal target ``sqs:sendMessage``, whose input is
SendMessage's parameters (EventBridge Scheduler User Guide, "managing-targets-universal").
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.capabilities import DEFAULT_GROUP, is_ordered
from taskq_cloud.core.model.payload_references import LEGACY_POINTER_SIZE, POINTER_SIZE
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.errors import ImproperlyConfigured, PayloadTooLarge

LARGEST_INPUT_BYTES: Final = 262_144
"""The largest input of a target: EventBridge's limit for an event. The API reference states no limit for ``Input``."""

LONGEST_DESCRIPTION_CHARACTERS: Final = 512
"""The limit of a description (EventBridge Scheduler API Reference, "CreateSchedule")."""

LONGEST_EXPRESSION_CHARACTERS: Final = 256
LONGEST_TIMEZONE_CHARACTERS: Final = 50
"""The limits of ``ScheduleExpression`` and ``ScheduleExpressionTimezone`` (EventBridge Scheduler API Reference,
"CreateSchedule")."""

LONGEST_WINDOW_MINUTES: Final = 1_440
"""The longest flexible window (EventBridge Scheduler API Reference, "FlexibleTimeWindow")."""

_NAME: Final = re.compile(r"[0-9a-zA-Z\-_.]{1,64}")
_GROUP: Final = re.compile(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}")
"""Matches a message group's id (SQS API Reference, "SendMessage")."""
_QUEUE_ARN: Final = re.compile(r"arn:(aws[a-z-]*):sqs:([a-z0-9-]+):(\d+):([\w-]+(?:\.fifo)?)")
_QUEUE_URL: Final = re.compile(r"https://sqs\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/(\d+)/([\w-]+(?:\.fifo)?)")
_SEND_MESSAGE: Final = ":scheduler:::aws-sdk:sqs:sendMessage"
_AT: Final = re.compile(r"at\((.+)\)")
_NUMBERS: Final = frozenset({POINTER_SIZE, LEGACY_POINTER_SIZE})
"""The attributes that the SQS Extended Client writes as numbers."""


@dataclass(frozen=True, slots=True)
class ScheduleGroup:
    """A schedule group, and how its schedules send messages.

    Args:
        name: the group's name.
        role_arn: the role that the scheduler assumes to send.
        dead_letter_arn: the queue for messages that could not be sent; None: these messages are lost.
        region: the group's region; None: the region of the environment.
        endpoint_url: the service's endpoint; None: ``AWS_ENDPOINT_URL`` if set, or else AWS's own endpoint.
        kms_key_arn: the key that encrypts the schedules, whose input holds the message; None: a key of AWS.
    """

    name: str
    role_arn: str
    dead_letter_arn: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    kms_key_arn: str | None = None


def check_name(name: str) -> str:
    """Return the name of a schedule or a group if it is valid.

    Raises:
        ImproperlyConfigured: the name isn't valid.
    """
    if not _NAME.fullmatch(name):
        raise ImproperlyConfigured(
            f"{name!r:.100} is not a valid name of a schedule or a group: use 1 to 64 letters, digits, '-', '_' and '.'"
        )
    return name


def to_parameters(schedule: PlatformSchedule, group: ScheduleGroup) -> dict[str, Any]:
    """Make the parameters of CreateSchedule and UpdateSchedule, without the client token, which differs in each call.

    Args:
        schedule: the schedule.
        group: the schedule group.

    Raises:
        ImproperlyConfigured: the schedule's name, target, message group, window or time isn't valid.
        PayloadTooLarge: the input of the target exceeds the limit.
    """
    where = f"schedule {schedule.name}"
    target = _target(schedule, where)
    size_bytes = len(target["Input"].encode())
    if size_bytes > LARGEST_INPUT_BYTES:
        raise PayloadTooLarge(
            f"{where}: the input of the target has {size_bytes} bytes, and EventBridge Scheduler takes at most "
            f"{LARGEST_INPUT_BYTES}: set TASKQ_PAYLOADS to a bucket, or put the data into a store and send the key"
        )
    if not 0 <= schedule.window_minutes <= LONGEST_WINDOW_MINUTES:
        raise ImproperlyConfigured(f"{where}: the flexible window must have 1 to {LONGEST_WINDOW_MINUTES} minutes")
    target["RoleArn"] = group.role_arn
    if group.dead_letter_arn:
        target["DeadLetterConfig"] = {"Arn": group.dead_letter_arn}
    window: dict[str, Any] = {"Mode": "OFF"}
    if schedule.window_minutes:
        window = {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": schedule.window_minutes}
    return {
        "Name": check_name(schedule.name),
        "GroupName": group.name,
        **_times(schedule, where),
        "FlexibleTimeWindow": window,
        "State": "ENABLED" if schedule.enabled else "DISABLED",
        "Description": schedule.description[:LONGEST_DESCRIPTION_CHARACTERS],
        "Target": target,
        **({"KmsKeyArn": group.kms_key_arn} if group.kms_key_arn else {}),
    }


def from_answer(answer: Mapping[str, Any]) -> PlatformSchedule:
    """Make a schedule from GetSchedule's answer.

    The target of a schedule that another program made is the target's own ARN, and the body is the target's input.
    """
    target = answer["Target"]
    sent: dict[str, Any] = {
        "target": target["Arn"],
        "body": target.get("Input", ""),
        "group": target.get("SqsParameters", {}).get("MessageGroupId"),
    }
    if target["Arn"].endswith(_SEND_MESSAGE):
        sent = _read_send_message(target["Arn"], target["Input"]) or sent
    once = _AT.fullmatch(answer["ScheduleExpression"])
    return PlatformSchedule(
        name=answer["Name"],
        # Another program's one-off time may be in another time zone than UTC; it stays an expression.
        when=datetime.fromisoformat(once[1]).replace(tzinfo=UTC)
        if once and answer.get("ScheduleExpressionTimezone", "UTC") == "UTC"
        else answer["ScheduleExpression"],
        timezone=answer.get("ScheduleExpressionTimezone", "UTC"),
        start=_in_utc(answer.get("StartDate")),
        end=_in_utc(answer.get("EndDate")),
        enabled=answer.get("State", "ENABLED") == "ENABLED",
        window_minutes=answer.get("FlexibleTimeWindow", {}).get("MaximumWindowInMinutes", 0),
        description=answer.get("Description", ""),
        sender=" ".join(
            filter(
                None,
                (target.get("RoleArn"), target.get("DeadLetterConfig", {}).get("Arn"), answer.get("KmsKeyArn")),
            ),
        ),
        **sent,
    )


def _times(schedule: PlatformSchedule, where: str) -> dict[str, Any]:
    if isinstance(schedule.when, datetime):
        if schedule.when.tzinfo is None:
            raise ImproperlyConfigured(
                f"{where}: the time {schedule.when.isoformat()} has no time zone: use an aware datetime"
            )
        at = schedule.when.astimezone(UTC).replace(tzinfo=None, microsecond=0)
        once = {"ScheduleExpression": f"at({at.isoformat()})", "ScheduleExpressionTimezone": "UTC"}
        return {**once, "ActionAfterCompletion": "DELETE"}
    for part, text, most in (
        ("expression", schedule.when, LONGEST_EXPRESSION_CHARACTERS),
        ("time zone", schedule.timezone, LONGEST_TIMEZONE_CHARACTERS),
    ):
        if not 1 <= len(text) <= most:
            raise ImproperlyConfigured(
                f"{where}: the {part} {text!r:.300} has {len(text)} characters, and EventBridge Scheduler takes 1 to "
                f"{most}: change it"
            )
    times: dict[str, Any] = {
        "ScheduleExpression": schedule.when,
        "ScheduleExpressionTimezone": schedule.timezone,
        "ActionAfterCompletion": "NONE",
    }
    if schedule.start is not None:
        times["StartDate"] = schedule.start
    if schedule.end is not None:
        times["EndDate"] = schedule.end
    return times


def _target(schedule: PlatformSchedule, where: str) -> dict[str, Any]:
    found = _QUEUE_ARN.fullmatch(schedule.target)
    if not found:
        raise ImproperlyConfigured(
            f"{where}: the target {schedule.target!r} is not the ARN of an SQS queue: use EventBridge Scheduler with a "
            "broker sqs://region/prefix"
        )
    partition, region, account, name = found.groups()
    if schedule.group is not None and not _GROUP.fullmatch(schedule.group):
        raise ImproperlyConfigured(
            f"{where}: the message group {schedule.group!r} must be 1 to 128 ASCII letters, digits and punctuation"
        )
    ordered = is_ordered(name)
    if not schedule.attributes and not (schedule.deduplication if ordered else schedule.group):
        parameters = {"SqsParameters": {"MessageGroupId": schedule.group or DEFAULT_GROUP}} if ordered else {}
        return {"Arn": schedule.target, "Input": schedule.body, **parameters}
    host = f"sqs.{region}.amazonaws.com" + (".cn" if partition == "aws-cn" else "")
    send: dict[str, Any] = {"QueueUrl": f"https://{host}/{account}/{name}", "MessageBody": schedule.body}
    if schedule.group or ordered:
        send["MessageGroupId"] = schedule.group or DEFAULT_GROUP
    if ordered and schedule.deduplication:
        send["MessageDeduplicationId"] = schedule.deduplication
    if schedule.attributes:
        send["MessageAttributes"] = {
            name: {"DataType": "Number" if name in _NUMBERS else "String", "StringValue": value}
            for name, value in schedule.attributes.items()
        }
    return {"Arn": f"arn:{partition}{_SEND_MESSAGE}", "Input": json.dumps(send, ensure_ascii=False)}


def _read_send_message(arn: str, text: str) -> dict[str, Any] | None:
    """Read the parts of a schedule from a universal target's input; None if another program wrote the input."""
    parameters: Any = json.loads(text)
    match parameters:
        case {"QueueUrl": str(url), "MessageBody": str(body)} if found := _QUEUE_URL.fullmatch(url):
            region, account, name = found.groups()
            return {
                "target": f"{arn.removesuffix(_SEND_MESSAGE)}:sqs:{region}:{account}:{name}",
                "body": body,
                "group": parameters.get("MessageGroupId"),
                "deduplication": parameters.get("MessageDeduplicationId"),
                "attributes": {
                    name: value["StringValue"] for name, value in parameters.get("MessageAttributes", {}).items()
                },
            }
    return None


def _in_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)
