"""Translates Cloud Scheduler's failed calls into this package's errors."""

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
from taskq_cloud.stores.schedules._cloud_scheduler_jobs import JobLocation

MISSING: Final = "NOT_FOUND"
EXISTS: Final = "ALREADY_EXISTS"
WRONG_STATE: Final = "FAILED_PRECONDITION"

_LOCATION: Final = re.compile(r"\blocation\b", re.IGNORECASE)
"""Matches Google's message "Location 'x' is not a valid location". The names of jobs contain "locations" instead."""

_PERMISSIONS: Final = {"resume_job": "cloudscheduler.jobs.enable"}
"""Operation -> permission, for operations whose permission has another name (Cloud Scheduler documentation, "Access
control with IAM")."""


def explain(location: JobLocation, error: CallError, name: str | None = None) -> TaskQError:
    """Make the error for a failed call, with the cause and the remedy.

    Args:
        location: the location of the jobs.
        error: the failure.
        name: the schedule's name; None: the call was about all schedules.
    """
    kind, why = (_refusal if error.trouble is Trouble.REFUSED else _failure)(location, error)
    subject = f"schedule {name}" if name else "the schedules"
    where = f"{subject} in Cloud Scheduler, project {location.project}, location {location.region}"
    return kind(f"{where}: {why} ({error.code}: {error.message})")


def _failure(location: JobLocation, error: CallError) -> tuple[type[TaskQError], str]:
    operation = error.call.operation
    match error.trouble:
        case Trouble.CREDENTIALS:
            return AccessDenied, f"Google's credentials were not accepted for {operation}: renew them"
        case Trouble.THROTTLED if operation == "create_job":
            return QuotaExceeded, (
                "a quota is reached, of the region's jobs or of calls (500 writes a minute): remove jobs that are no "
                "longer needed, request a higher quota under IAM & Admin, Quotas, or try again in a minute"
            )
        case Trouble.THROTTLED:
            return Unreachable, f"Cloud Scheduler throttled {operation} until the retries ran out: try again later"
    return Unreachable, (
        f"no answer from {location.endpoint or 'Cloud Scheduler'} to {operation} after the retries: check the network "
        "and the endpoint"
    )


def _refusal(location: JobLocation, error: CallError) -> tuple[type[TaskQError], str]:
    match error.code:
        case "NOT_FOUND":
            return _missing(location, error)
        case "PERMISSION_DENIED":
            return AccessDenied, _denial(location, error)
        case "INVALID_ARGUMENT" if _LOCATION.search(error.message):
            return _missing(location, error)
        case "INVALID_ARGUMENT":
            return ImproperlyConfigured, f"{error.call.operation} rejected the job"
    return OperationalError, f"{error.call.operation} failed"


def _missing(location: JobLocation, error: CallError) -> tuple[type[TaskQError], str]:
    request = error.call.parameters["request"]
    if _LOCATION.search(error.message):
        return ScheduleGroupNotFound, (
            "there is no such location: gcloud scheduler locations list shows the locations; set TASKQ_SCHEDULER to "
            "cloudscheduler://project/location"
        )
    if "job" in request:
        topic = request["job"]["pubsub_target"]["topic_name"]
        return QueueNotFound, (
            f"topic {topic} or project {location.project} does not exist, and the runtime doesn't create topics: "
            f"gcloud pubsub topics create {topic}"
        )
    return ScheduleGroupNotFound, (
        f"{error.call.operation} finds no project {location.project}, or no location: set TASKQ_SCHEDULER to "
        "cloudscheduler://project/location, with the project's ID and not its display name"
    )


def _denial(location: JobLocation, error: CallError) -> str:
    if re.search("has not been used|disabled", error.message):
        return (
            "the API is not enabled in the project: gcloud services enable cloudscheduler.googleapis.com --project "
            f"{location.project}"
        )
    operation = error.call.operation
    permission = _PERMISSIONS.get(operation, f"cloudscheduler.jobs.{operation.partition('_')[0]}")
    return (
        f"{permission} was denied: grant roles/cloudscheduler.admin, or a custom role with this permission, to this "
        "account, and check the location's name: Cloud Scheduler gives the same answer for an unknown location"
    )
