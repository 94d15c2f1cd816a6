"""Translates EventBridge Scheduler's failed calls into this package's errors."""

from __future__ import annotations

from typing import Final

from taskq_cloud.core.flows import CallError, Trouble
from taskq_cloud.errors import (
    AccessDenied,
    ImproperlyConfigured,
    OperationalError,
    QuotaExceeded,
    ScheduleGroupNotFound,
    TaskQError,
    Unreachable,
)
from taskq_cloud.stores.schedules._eventbridge_schedules import ScheduleGroup

MISSING: Final = "ResourceNotFoundException"
CONFLICT: Final = "ConflictException"


def explain(group: ScheduleGroup, error: CallError, name: str | None = None) -> TaskQError:
    """Make the error for a failed call, with the cause and the remedy.

    Args:
        group: the schedule group.
        error: the failure.
        name: the schedule's name; None: the call was about all schedules.
    """
    action = f"scheduler:{error.call.operation.title().replace('_', '')}"
    kind, why = (_refusal if error.trouble is Trouble.REFUSED else _failure)(group, error, action)
    subject = f"schedule {name}" if name else "the schedules"
    return kind(f"{subject} of group {group.name!r} in {group.region or 'the default region'}: {why}")


def _failure(group: ScheduleGroup, error: CallError, action: str) -> tuple[type[TaskQError], str]:
    answer = f"({error.code}: {error.message})"
    match error.trouble:
        case Trouble.CREDENTIALS:
            return AccessDenied, f"the AWS credentials were not accepted for {action} {answer}: renew them"
        case Trouble.THROTTLED:
            return Unreachable, (
                f"EventBridge Scheduler throttled {action} until the retries ran out {answer}: try again later"
            )
    endpoint = group.endpoint_url or f"EventBridge Scheduler in {group.region or 'the default region'}"
    return Unreachable, (
        f"no answer from {endpoint} to {action} after the retries {answer}: check the network and the endpoint"
    )


def _refusal(group: ScheduleGroup, error: CallError, action: str) -> tuple[type[TaskQError], str]:
    answer = f"({error.code}: {error.message})"
    match error.code:
        case "ResourceNotFoundException":
            region = f" --region {group.region}" if group.region else ""
            return ScheduleGroupNotFound, (
                "the group does not exist, and the runtime doesn't create groups: aws scheduler create-schedule-group "
                f"--name {group.name}{region}"
            )
        case "AccessDenied" | "AccessDeniedException":
            return AccessDenied, _denial(group, error, action)
        case "ValidationException" if "role" in error.message.lower():
            return AccessDenied, (
                f"the scheduler can't use {group.role_arn} {answer}: the role must exist, and its trust policy must "
                "let scheduler.amazonaws.com assume it"
            )
        case "ValidationException":
            return ImproperlyConfigured, f"{action} rejected the schedule {answer}"
        case "ServiceQuotaExceededException":
            return QuotaExceeded, (
                f"a quota of EventBridge Scheduler is reached {answer}: remove schedules that are no longer needed "
                "(taskq scheduled lists them), or request a higher quota under Service Quotas"
            )
    return OperationalError, f"{action} failed {answer}"


def _denial(group: ScheduleGroup, error: CallError, action: str) -> str:
    answer = f"({error.code}: {error.message})"
    if "iam:PassRole" in error.message:
        return (
            f"iam:PassRole on {group.role_arn} was denied {answer}: allow it to this role or user, with the condition "
            "iam:PassedToService = scheduler.amazonaws.com"
        )
    return (
        f"{action} was denied {answer}: allow it to this role or user on arn:aws:scheduler:*:*:schedule/{group.name}/*"
    )
