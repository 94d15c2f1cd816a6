"""Converts schedules to Cloud Scheduler's jobs and back, and reads the location of the jobs from a URL.

The names of schedules contain dots, and the ids of jobs can't: ``job_id`` encodes a name, and ``name_of`` decodes an
id. A job doesn't say whether it is to be paused. Pausing and resuming take calls of their own, which the adapter makes
(``cloud_scheduler``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import SplitResult, unquote

from taskq_cloud.core.lazy.values import dataclass, replace
from taskq_cloud.core.model.capabilities import is_ordered
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured, PayloadTooLarge

LARGEST_MESSAGE_BYTES: Final = 1_000_000 - 4_096
"""The largest message, with its attributes. A job may have 1 MB, part of which is needed for names, the description and
1 KB of the request itself (Cloud Scheduler documentation, "Quotas and limits")."""

LONGEST_DESCRIPTION_CHARACTERS: Final = 500
"""The limit of a job's description (Cloud Scheduler API Reference, "Job")."""

RETRIES: Final = 3
"""How often a job repeats a failed publish: after 5, 10 and 20 s. All retries end before the next minute; a later one
would be taken for the next minute's firing."""

RAREST: Final = "0 0 29 2 *"
"""The cron expression of a new job until it is paused: the 29th of February. A job can't be created paused."""

UPDATED_FIELDS: Final = ("description", "schedule", "time_zone", "pubsub_target", "retry_config")
"""The fields of a job that an update overwrites."""

_EXAMPLE: Final = "cloudscheduler://my-project/europe-west1"
_PROJECT: Final = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_LOCATION: Final = re.compile(r"[a-z]+-[a-z]+\d+")
_NAME: Final = re.compile(r"[0-9a-zA-Z\-_.]{1,64}")
_JOB_ID: Final = re.compile(r"(?:[0-9a-zA-Z-]|__|_-)+")
_TOPIC: Final = re.compile(r"projects/([^/]+)/topics/[^/]+")
_UTC: Final = frozenset({"", "utc", "etc/utc"})
_USABLE_STATES: Final = frozenset({"ENABLED", "PAUSED"})

_MOST_ATTRIBUTES: Final = 100
_LONGEST_ATTRIBUTE_NAME_BYTES: Final = 256
_LONGEST_ATTRIBUTE_VALUE_BYTES: Final = 1_024
"""The limits for the attributes of a Pub/Sub message (Pub/Sub documentation, "Quotas and limits")."""


@dataclass(frozen=True, slots=True)
class JobLocation:
    """The project and the region that keep the jobs.

    Args:
        project: the ID of the Google Cloud project.
        region: the region, which Cloud Scheduler calls a location: ``"europe-west1"``.
        endpoint: the service's host; None: the global host.
    """

    project: str
    region: str
    endpoint: str | None = None

    @property
    def parent(self) -> str:
        """The location's full name, which calls need: ``"projects/my-project/locations/europe-west1"``."""
        return f"projects/{self.project}/locations/{self.region}"

    def job(self, name: str) -> str:
        """The full name of a schedule's job.

        Raises:
            ImproperlyConfigured: ``name`` isn't a valid name of a schedule.
        """
        return f"{self.parent}/jobs/{job_id(name)}"


def read_location(url: SplitResult) -> JobLocation:
    """Read the location of the jobs from ``cloudscheduler://project/location``.

    Args:
        url: the URL; takes the option ``endpoint``. A URL without a project means the project in
            ``GOOGLE_CLOUD_PROJECT``.

    Raises:
        ImproperlyConfigured: a part of the URL is wrong; the error names the part.
    """
    if "@" in url.netloc:
        raise ImproperlyConfigured(
            f"{shown(url)}: remove the credentials from the URL: Google's libraries find them (a service account, "
            "GOOGLE_APPLICATION_CREDENTIALS, gcloud auth application-default login)"
        )
    query = query_of(url, ("endpoint",))
    project, region = url.netloc or os.environ.get("GOOGLE_CLOUD_PROJECT", ""), unquote(url.path).strip("/")
    if not _PROJECT.fullmatch(project):
        raise ImproperlyConfigured(
            f"{shown(url)}: {project!r} is not the ID of a Google Cloud project: write {_EXAMPLE}, or "
            "cloudscheduler:///europe-west1 with GOOGLE_CLOUD_PROJECT set"
        )
    if not _LOCATION.fullmatch(region):
        raise ImproperlyConfigured(f"{shown(url)}: {region!r} is not a location: write {_EXAMPLE}")
    return JobLocation(project, region, query.get("endpoint"))


def job_id(name: str) -> str:
    """Encode a schedule's name as the id of its job: ``a_b.c`` becomes ``a_-b__c``.

    Raises:
        ImproperlyConfigured: ``name`` isn't a valid name of a schedule.
    """
    if not _NAME.fullmatch(name):
        raise ImproperlyConfigured(
            f"{name!r:.100} is not a valid name of a schedule: use 1 to 64 letters, digits, '-', '_' and '.'"
        )
    return name.replace("_", "_-").replace(".", "__")


def name_of(job: str) -> str | None:
    """Decode a job's full name to its schedule's name; None if the job's id encodes no name of a schedule."""
    found = job.rpartition("/")[2]
    if not _JOB_ID.fullmatch(found):
        return None
    name = re.sub("__|_-", lambda pair: "." if pair[0] == "__" else "_", found)
    return name if _NAME.fullmatch(name) else None


def to_job(schedule: PlatformSchedule, location: JobLocation) -> dict[str, Any]:
    """Make a schedule's job in the form of CreateJob and UpdateJob, which don't say whether the job is paused.

    Args:
        schedule: the schedule.
        location: the location of the job.

    Raises:
        ImproperlyConfigured: the schedule needs something that jobs don't have; the error says what.
        PayloadTooLarge: the schedule's message exceeds the limit.
    """
    where = f"schedule {schedule.name}"
    name = location.job(schedule.name)
    _check_times(schedule, where)
    _check_target(schedule, where, location)
    data = schedule.body.encode(errors="surrogateescape")
    size = len(data) + sum(_size(each) + _size(value) for each, value in schedule.attributes.items())
    if size > LARGEST_MESSAGE_BYTES:
        raise PayloadTooLarge(
            f"{where}: the message has {size} bytes with its attributes, and Cloud Scheduler takes at most "
            f"{LARGEST_MESSAGE_BYTES}: put the data into a store, and call the task with the key"
        )
    _check_attributes(schedule.attributes, where)
    if not data and not schedule.attributes:
        raise ImproperlyConfigured(
            f"{where}: the message has neither a body nor an attribute, which Pub/Sub does not accept"
        )
    return {
        "name": name,
        "description": schedule.description[:LONGEST_DESCRIPTION_CHARACTERS],
        "schedule": schedule.when,
        "time_zone": _zone(schedule.timezone),
        "pubsub_target": {"topic_name": schedule.target, "data": data, "attributes": dict(schedule.attributes)},
        "retry_config": {"retry_count": RETRIES},
    }


def kept(schedule: PlatformSchedule, location: JobLocation) -> PlatformSchedule:
    """The schedule that ``from_job`` will read from this schedule's job; raises the errors of ``to_job``."""
    job = to_job(schedule, location)
    return replace(schedule, description=job["description"], timezone=job["time_zone"], sender="")


def from_job(job: Any, name: str) -> PlatformSchedule:
    """Make a schedule from a job that a call has returned.

    The target of a job that calls a URL, instead of publishing, is that URL. A job can be in a state that nobody chose
    and in which it may not fire. The schedule's ``sender`` is then the name of the state, so that the schedule differs
    from the declared one and is written again, which repairs the job.

    Args:
        job: Cloud Scheduler's ``Job``.
        name: the schedule's name.
    """
    target, state = job.pubsub_target, job.state.name
    return PlatformSchedule(
        name=name,
        when=job.schedule,
        target=target.topic_name or job.http_target.uri,
        body=target.data.decode(errors="surrogateescape"),
        timezone=_zone(job.time_zone),
        enabled=state != "PAUSED",
        attributes=dict(target.attributes),
        description=job.description,
        sender="" if state in _USABLE_STATES else state,
    )


def _check_times(schedule: PlatformSchedule, where: str) -> None:
    if isinstance(schedule.when, datetime):
        raise ImproperlyConfigured(
            f"{where}: Cloud Scheduler does not support one-off times: set cloud_tasks_queue in "
            "broker_transport_options, so that delayed messages wait in Cloud Tasks"
        )
    if schedule.start is not None or schedule.end is not None or schedule.window_minutes:
        raise ImproperlyConfigured(
            f"{where}: a job of Cloud Scheduler has no start, no end and no flexible window: remove these options"
        )


def _check_target(schedule: PlatformSchedule, where: str, location: JobLocation) -> None:
    found = _TOPIC.fullmatch(schedule.target)
    if not found:
        raise ImproperlyConfigured(
            f"{where}: the target {schedule.target!r} is not the full name of a Pub/Sub topic: use Cloud Scheduler "
            "with a broker pubsub://project/prefix"
        )
    if found[1] != location.project:
        raise ImproperlyConfigured(
            f"{where}: the target {schedule.target} is not in the project of the jobs, {location.project}, and Cloud "
            "Scheduler publishes only within one project: set TASKQ_SCHEDULER to "
            f"cloudscheduler://{found[1]}/{location.region}"
        )
    if schedule.group or schedule.deduplication or is_ordered(schedule.target):
        raise ImproperlyConfigured(
            f"{where}: a message that Cloud Scheduler publishes has no ordering key, so it can't go to a .fifo queue "
            "or into a message group: send the periodic task to another queue, and let that task call the ordered one"
        )


def _check_attributes(attributes: Mapping[str, str], where: str) -> None:
    if len(attributes) > _MOST_ATTRIBUTES:
        raise ImproperlyConfigured(
            f"{where}: the message has {len(attributes)} attributes, and Pub/Sub takes at most {_MOST_ATTRIBUTES}: "
            "send fewer"
        )
    for name, value in attributes.items():
        if not name or name.startswith("goog") or _size(name) > _LONGEST_ATTRIBUTE_NAME_BYTES:
            raise ImproperlyConfigured(
                f"{where}: an attribute can't be called {name[:80]!r}: use 1 to "
                f"{_LONGEST_ATTRIBUTE_NAME_BYTES} bytes that don't begin with goog"
            )
        if _size(value) > _LONGEST_ATTRIBUTE_VALUE_BYTES:
            raise ImproperlyConfigured(
                f"{where}: attribute {name!r} has {_size(value)} bytes, and Pub/Sub takes at most "
                f"{_LONGEST_ATTRIBUTE_VALUE_BYTES}: shorten it"
            )


def _zone(timezone: str) -> str:
    # Google returns "utc" for a job that was created without a time zone.
    return "UTC" if timezone.lower() in _UTC else timezone


def _size(text: str) -> int:
    return len(text.encode())
