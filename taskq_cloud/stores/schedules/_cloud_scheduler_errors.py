"""Cloud Scheduler's errors in this package's words."""

from __future__ import annotations

import re
from typing import Final

from taskq_cloud.core.flows import CallError, Trouble
from taskq_cloud.errors import (
    AccessDenied,
    ImproperlyConfigured,
    OperationalError,
    QueueNotFound,
    QuotaExceeded,
    ScheduleGroupNotFound,
    TaskQError,
    Unreachable,
)
from taskq_cloud.stores.schedules._cloud_scheduler_jobs import Place

MISSING: Final = "NOT_FOUND"
EXISTS: Final = "ALREADY_EXISTS"
WRONG_STATE: Final = "FAILED_PRECONDITION"

_LOCATION: Final = re.compile(r"\blocation\b", re.IGNORECASE)
"""In Google's words: "Location 'x' is not a valid location". Names of jobs have "locations"."""

_PERMISSIONS: Final = {"resume_job": "cloudscheduler.jobs.enable"}
"""Of an operation, where it has another name (Cloud Scheduler documentation, "Access control with IAM")."""


def explain(place: Place, error: CallError, name: str | None = None) -> TaskQError:
    """A failed call, as this package's error.

    Args:
        place: where the jobs are.
        error: the failure.
        name: of the schedule.
    """
    kind, why = (_refusal if error.trouble is Trouble.REFUSED else _failure)(place, error)
    what = f"schedule {name}" if name else "the schedules"
    where = f"{what} in Cloud Scheduler, project {place.project}, location {place.location}"
    return kind(f"{where}: {why} ({error.code}: {error.message})")


def _failure(place: Place, error: CallError) -> tuple[type[TaskQError], str]:
    operation = error.call.operation
    match error.trouble:
        case Trouble.CREDENTIALS:
            return AccessDenied, f"Google's credentials were not accepted for {operation}"
        case Trouble.THROTTLED if operation == "create_job":
            return QuotaExceeded, (
                "a quota is reached, of the region's jobs or of calls (500 writes a minute): remove jobs that nobody "
                "needs, ask for more under IAM & Admin, Quotas, or go on in a minute"
            )
        case Trouble.THROTTLED:
            return Unreachable, f"Cloud Scheduler throttled {operation} until the retries ran out"
    return Unreachable, f"no answer from {place.endpoint or 'Cloud Scheduler'} to {operation} after the retries"


def _refusal(place: Place, error: CallError) -> tuple[type[TaskQError], str]:
    match error.code:
        case "NOT_FOUND":
            return _missing(place, error)
        case "PERMISSION_DENIED":
            return AccessDenied, _denial(place, error)
        case "INVALID_ARGUMENT" if _LOCATION.search(error.message):
            return _missing(place, error)
        case "INVALID_ARGUMENT":
            return ImproperlyConfigured, f"{error.call.operation} refuses it"
    return OperationalError, f"{error.call.operation} failed"


def _missing(place: Place, error: CallError) -> tuple[type[TaskQError], str]:
    request = error.call.parameters["request"]
    if _LOCATION.search(error.message):
        return ScheduleGroupNotFound, (
            "there is no such location: gcloud scheduler locations list names them, and TASKQ_SCHEDULER is "
            "cloudscheduler://project/location"
        )
    if "job" in request:
        topic = request["job"]["pubsub_target"]["topic_name"]
        return QueueNotFound, (
            f"topic {topic} or project {place.project} does not exist; the runtime creates none: gcloud pubsub topics "
            f"create {topic}"
        )
    return ScheduleGroupNotFound, (
        f"{error.call.operation} finds no project {place.project}, or no location: TASKQ_SCHEDULER is "
        "cloudscheduler://project/location, with the project's id and not its display name"
    )


def _denial(place: Place, error: CallError) -> str:
    if re.search("has not been used|disabled", error.message):
        return (
            "the API is not enabled there: gcloud services enable cloudscheduler.googleapis.com --project "
            f"{place.project}"
        )
    operation = error.call.operation
    permission = _PERMISSIONS.get(operation, f"cloudscheduler.jobs.{operation.partition('_')[0]}")
    return (
        f"{permission} was denied: grant roles/cloudscheduler.admin, or a role of your own, to this account; a "
        "location that Cloud Scheduler does not have is answered so, too"
    )
