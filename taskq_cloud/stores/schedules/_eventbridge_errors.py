"""EventBridge Scheduler's errors in this package's words."""

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
from taskq_cloud.stores.schedules._eventbridge_schedules import Place

MISSING: Final = "ResourceNotFoundException"
CONFLICT: Final = "ConflictException"


def explain(place: Place, error: CallError, name: str | None = None) -> TaskQError:
    """A failed call, as this package's error.

    Args:
        place: where the schedules are.
        error: the failure.
        name: of the schedule.
    """
    what = f"schedule {name}" if name else "the schedules"
    where = f"{what} of group {place.group!r} in {place.region or 'the default region'}"
    said = f"({error.code}: {error.message})"
    action = f"scheduler:{error.call.operation.title().replace('_', '')}"
    if error.trouble is Trouble.REFUSED:
        return _explain_refusal(place, error, where, action)
    kind: type[OperationalError]
    match error.trouble:
        case Trouble.CREDENTIALS:
            kind, why = AccessDenied, f"the AWS credentials were not accepted for {action}"
        case Trouble.THROTTLED:
            kind, why = Unreachable, f"EventBridge Scheduler throttled {action} until the retries ran out"
        case _:
            at = place.endpoint_url or f"EventBridge Scheduler in {place.region or 'the default region'}"
            kind, why = Unreachable, f"no answer from {at} to {action} after the retries"
    return kind(f"{where}: {why} {said}")


def _explain_refusal(place: Place, error: CallError, where: str, action: str) -> TaskQError:
    said = f"({error.code}: {error.message})"
    kind: type[TaskQError]
    match error.code:
        case "ResourceNotFoundException":
            region = f" --region {place.region}" if place.region else ""
            kind, why = (
                ScheduleGroupNotFound,
                (
                    "there is no such group; the runtime creates none: aws scheduler create-schedule-group "
                    f"--name {place.group}{region}"
                ),
            )
        case "AccessDenied" | "AccessDeniedException" if "iam:PassRole" in error.message:
            kind, why = (
                AccessDenied,
                (
                    f"iam:PassRole on {place.role_arn} was denied {said}: allow it to this role or user, with the "
                    "condition iam:PassedToService = scheduler.amazonaws.com"
                ),
            )
        case "AccessDenied" | "AccessDeniedException":
            kind, why = (
                AccessDenied,
                (
                    f"{action} was denied {said}: allow it to this role or user on "
                    f"arn:aws:scheduler:*:*:schedule/{place.group}/*"
                ),
            )
        case "ValidationException" if "role" in error.message.lower():
            kind, why = (
                AccessDenied,
                (
                    f"the scheduler can't use {place.role_arn} {said}: the role must exist, and its trust policy must "
                    "let scheduler.amazonaws.com assume it"
                ),
            )
        case "ValidationException":
            kind, why = ImproperlyConfigured, f"{action} refuses it {said}"
        case "ServiceQuotaExceededException":
            kind, why = (
                QuotaExceeded,
                (
                    f"a quota of EventBridge Scheduler is reached {said}: remove schedules that nobody needs (taskq "
                    "scheduled lists them), or ask AWS for more under Service Quotas"
                ),
            )
        case _:
            kind, why = OperationalError, f"{action} failed {said}"
    return kind(f"{where}: {why}")
