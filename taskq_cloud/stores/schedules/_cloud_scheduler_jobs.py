"""Schedules as Cloud Scheduler has them: where jobs are, the parts of one that publishes a message, and answers.

A job's id takes no dots, which names of schedules have: they are written otherwise, and back. Whether a job is paused
is no part of it that could be written; that takes calls of its own, which are the adapter's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import SplitResult, unquote

from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.ports import is_ordered
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured, PayloadTooLarge

LARGEST_MESSAGE_BYTES: Final = 1_000_000 - 4_096
"""What a job's megabyte leaves beside names, the description and the request's own kilobyte (Cloud Scheduler
documentation, "Quotas and limits")."""

LONGEST_DESCRIPTION_CHARACTERS: Final = 500
"""Cloud Scheduler API Reference, "Job"."""

RETRIES: Final = 3
"""Of a publish that fails, after 5, 10 and 20 s: before the next minute, for whose firing it would be taken."""

RAREST: Final = "0 0 29 2 *"
"""When a new job fires until it is paused, as it can't be created so: on the 29th of February."""

WRITTEN: Final = ("description", "schedule", "time_zone", "pubsub_target", "retry_config")
"""The parts of a job that an update writes over."""

_EXAMPLE: Final = "cloudscheduler://my-project/europe-west1"
_PROJECT: Final = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_LOCATION: Final = re.compile(r"[a-z]+-[a-z]+\d+")
_NAME: Final = re.compile(r"[0-9a-zA-Z\-_.]{1,64}")
_JOB_ID: Final = re.compile(r"(?:[0-9a-zA-Z-]|__|_-)+")
_TOPIC: Final = re.compile(r"projects/([^/]+)/topics/[^/]+")
_UTC: Final = frozenset({"", "utc", "etc/utc"})
_USABLE: Final = frozenset({"ENABLED", "PAUSED"})

_MOST_ATTRIBUTES: Final = 100
_LONGEST_ATTRIBUTE_NAME_BYTES: Final = 256
_LONGEST_ATTRIBUTE_VALUE_BYTES: Final = 1_024
"""Of a message of Pub/Sub's (its documentation, "Quotas and limits")."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where jobs are kept.

    Args:
        project: the id of the Google Cloud project.
        location: the region.
        endpoint: another host than the service's global one; None: that.
    """

    project: str
    location: str
    endpoint: str | None = None

    @property
    def parent(self) -> str:
        """What calls name it by."""
        return f"projects/{self.project}/locations/{self.location}"

    def job(self, name: str) -> str:
        """The full name of a schedule's job.

        Raises:
            ImproperlyConfigured: it is no name of a schedule.
        """
        return f"{self.parent}/jobs/{job_id(name)}"


def read_place(url: SplitResult) -> Place:
    """Read ``cloudscheduler://project/location``.

    Args:
        url: the URL; without a project, that of ``GOOGLE_CLOUD_PROJECT``. Also takes ``endpoint``.

    Raises:
        ImproperlyConfigured: a part of it is wrong; says which.
    """
    if "@" in url.netloc:
        raise ImproperlyConfigured(
            f"{shown(url)}: credentials don't belong into the URL: Google's libraries find them (a service account, "
            "GOOGLE_APPLICATION_CREDENTIALS, gcloud auth application-default login)"
        )
    query = query_of(url, ("endpoint",))
    project, location = url.netloc or os.environ.get("GOOGLE_CLOUD_PROJECT", ""), unquote(url.path).strip("/")
    if not _PROJECT.fullmatch(project):
        raise ImproperlyConfigured(
            f"{shown(url)}: {project!r} is no id of a Google Cloud project: write {_EXAMPLE}, or "
            "cloudscheduler:///europe-west1 with GOOGLE_CLOUD_PROJECT set"
        )
    if not _LOCATION.fullmatch(location):
        raise ImproperlyConfigured(f"{shown(url)}: {location!r} is no location: write {_EXAMPLE}")
    return Place(project, location, query.get("endpoint"))


def job_id(name: str) -> str:
    """The id of a schedule's job: ``a_b.c`` becomes ``a_-b__c``.

    Raises:
        ImproperlyConfigured: it is no name of a schedule.
    """
    if not _NAME.fullmatch(name):
        raise ImproperlyConfigured(f"{name!r:.100} is no name of a schedule: 1 to 64 letters, digits, '-', '_' and '.'")
    return name.replace("_", "_-").replace(".", "__")


def name_of(job: str) -> str | None:
    """The name of a job's schedule, by the job's full name; None: it is the job of something else."""
    found = job.rpartition("/")[2]
    if not _JOB_ID.fullmatch(found):
        return None
    name = re.sub("__|_-", lambda pair: "." if pair[0] == "__" else "_", found)
    return name if _NAME.fullmatch(name) else None


def to_job(schedule: PlatformSchedule, place: Place) -> dict[str, Any]:
    """A schedule's job, as CreateJob and UpdateJob take it, but for whether it is paused.

    Raises:
        ImproperlyConfigured: it has something that jobs don't have; says what.
        PayloadTooLarge: its message is over the limit.
    """
    where = f"schedule {schedule.name}"
    name = place.job(schedule.name)
    _check_times(schedule, where)
    _check_target(schedule, where, place)
    data = schedule.body.encode(errors="surrogateescape")
    size = len(data) + sum(_size(each) + _size(value) for each, value in schedule.attributes.items())
    if size > LARGEST_MESSAGE_BYTES:
        raise PayloadTooLarge(
            f"{where}: its message has {size} bytes with attributes, and Cloud Scheduler takes at most "
            f"{LARGEST_MESSAGE_BYTES} of them: put the data into a store, and call the task with its key"
        )
    _check_attributes(schedule.attributes, where)
    if not data and not schedule.attributes:
        raise ImproperlyConfigured(f"{where}: Pub/Sub takes no message that has neither a body nor an attribute")
    return {
        "name": name,
        "description": schedule.description[:LONGEST_DESCRIPTION_CHARACTERS],
        "schedule": schedule.when,
        "time_zone": _zone(schedule.timezone),
        "pubsub_target": {"topic_name": schedule.target, "data": data, "attributes": dict(schedule.attributes)},
        "retry_config": {"retry_count": RETRIES},
    }


def kept(schedule: PlatformSchedule, place: Place) -> PlatformSchedule:
    """What ``from_job`` says of a schedule's job; raises as ``to_job`` does."""
    job = to_job(schedule, place)
    return replace(schedule, description=job["description"], timezone=job["time_zone"], sender="")


def from_job(job: Any, name: str) -> PlatformSchedule:
    """The schedule of a job, as a call has answered it. One that publishes nothing has its URL as the target.

    Where the job is in a state that nobody has put it in, and in which it may not fire, its ``sender`` says so: writing
    it over is what helps.
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
        sender="" if state in _USABLE else state,
    )


def _check_times(schedule: PlatformSchedule, where: str) -> None:
    if isinstance(schedule.when, datetime):
        raise ImproperlyConfigured(
            f"{where}: Cloud Scheduler keeps no one-off times: what is due late waits in Cloud Tasks "
            "(cloud_tasks_queue in broker_transport_options)"
        )
    if schedule.start is not None or schedule.end is not None or schedule.window_minutes:
        raise ImproperlyConfigured(f"{where}: a job of Cloud Scheduler has no start, no end and no flexible window")


def _check_target(schedule: PlatformSchedule, where: str, place: Place) -> None:
    found = _TOPIC.fullmatch(schedule.target)
    if not found:
        raise ImproperlyConfigured(
            f"{where}: its target {schedule.target!r} is not the full name of a Pub/Sub topic: Cloud Scheduler goes "
            "with a broker pubsub://project/prefix"
        )
    if found[1] != place.project:
        raise ImproperlyConfigured(
            f"{where}: its target {schedule.target} is in another project than the jobs, {place.project}, and Cloud "
            f"Scheduler publishes within one: set TASKQ_SCHEDULER to cloudscheduler://{found[1]}/{place.location}"
        )
    if schedule.group or schedule.deduplication or is_ordered(schedule.target):
        raise ImproperlyConfigured(
            f"{where}: what Cloud Scheduler publishes has no ordering key, so it can't go to a .fifo queue or into a "
            "message group: send the periodic task to another queue, and from there to that one"
        )


def _check_attributes(attributes: Mapping[str, str], where: str) -> None:
    if len(attributes) > _MOST_ATTRIBUTES:
        raise ImproperlyConfigured(f"{where}: {len(attributes)} attributes, and Pub/Sub takes {_MOST_ATTRIBUTES}")
    for name, value in attributes.items():
        if not name or name.startswith("goog") or _size(name) > _LONGEST_ATTRIBUTE_NAME_BYTES:
            raise ImproperlyConfigured(
                f"{where}: an attribute can't be called {name[:80]!r}: Pub/Sub takes 1 to "
                f"{_LONGEST_ATTRIBUTE_NAME_BYTES} bytes that don't begin with goog"
            )
        if _size(value) > _LONGEST_ATTRIBUTE_VALUE_BYTES:
            raise ImproperlyConfigured(
                f"{where}: attribute {name!r} has {_size(value)} bytes, and Pub/Sub takes at most "
                f"{_LONGEST_ATTRIBUTE_VALUE_BYTES}"
            )


def _zone(timezone: str) -> str:
    # Google writes "utc" where nothing was said.
    return "UTC" if timezone.lower() in _UTC else timezone


def _size(text: str) -> int:
    return len(text.encode())
