"""Keeps schedules as Google Cloud Scheduler's jobs in one project and location, which publish to Pub/Sub topics.

Cloud Scheduler has no one-off times, so this store serves periodic tasks only. ``_cloud_scheduler_jobs`` converts
schedules, and ``_cloud_scheduler_errors`` explains failures.

A job is always created enabled; separate calls pause and resume it. The order of the calls makes sure that a crash
between any two of them leaves no job that fires although it should not:

- The job of a disabled schedule is created with the rarest of times, then paused, and only then given its own times.
- A job that is to be disabled is paused before it is changed.
- A job that is to be enabled is changed before it is resumed.

A job that a crash left unfinished differs from its schedule, so the next ``put`` finishes it. Google doesn't say
whether a paused job can be changed, nor whether it stays paused then (there are reports of either), so the store relies
on neither.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Final, Self
from urllib.parse import SplitResult

from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Sleep, Trouble
from taskq_cloud.core.model.capabilities import ScheduleCapabilities
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.platform_schedule import PlatformSchedule, SchedulePage
from taskq_cloud.core.ports import Service
from taskq_cloud.errors import TaskQError
from taskq_cloud.stores.schedules._cloud_scheduler_errors import EXISTS, MISSING, WRONG_STATE, explain
from taskq_cloud.stores.schedules._cloud_scheduler_jobs import (
    LARGEST_MESSAGE_BYTES,
    RAREST,
    UPDATED_FIELDS,
    JobLocation,
    from_job,
    kept,
    name_of,
    read_location,
    to_job,
)

PRECISION_SECONDS: Final = 60
"""How late a schedule may fire: a job's times are whole minutes (Cloud Scheduler documentation, "Cron job format and
time zone")."""

LARGEST_PAGE: Final = 500
"""The most jobs on a page (Cloud Scheduler API Reference, "ListJobs")."""

CALLS_AT_ONCE: Final = 20
"""How many calls run at once, since there is no batch call."""

PAUSE_SECONDS: Final = 60
"""How long to wait once a quota of calls is used up. The quotas are per minute: 500 writes and 1,250 reads (Cloud
Scheduler documentation, "Quotas and limits")."""

MOST_PAUSES: Final = 10
"""How often the calls of one operation wait. If the quota is still used up then, other programs are using it."""

logger = logging.getLogger("taskq_cloud.schedulers.cloud_scheduler")

_SERVICE: Final = "cloud_scheduler"


class CloudSchedulerJobs:
    """Keeps schedules in Cloud Scheduler.

    Args:
        location: the project and the region of the jobs.
    """

    capabilities: ClassVar[ScheduleCapabilities] = ScheduleCapabilities(
        precision_seconds=PRECISION_SECONDS,
        least_lead_seconds=PRECISION_SECONDS,
        largest_body_bytes=LARGEST_MESSAGE_BYTES,
        expressions="cloud_scheduler",
        one_off=False,
        windows=False,
        bounds=False,
        groups=False,
        shared_between_processes=True,
        durable=True,
    )

    def __init__(self, location: JobLocation) -> None:
        self._location = location

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> Self:
        """Make the store for ``cloudscheduler://project/location``: see ``read_location``."""
        return cls(read_location(url))

    @property
    def services(self) -> Mapping[str, Service]:
        """The client of Cloud Scheduler, at the URL's endpoint."""
        return {_SERVICE: Service("pubsub", (("endpoint", self._location.endpoint),))}

    def kept(self, schedule: PlatformSchedule) -> PlatformSchedule:
        """Convert a schedule to a job and back: see ``ScheduleStore.kept``."""
        return kept(schedule, self._location)

    def put(self, schedules: Sequence[PlatformSchedule], *, replace: bool = False) -> Flow[list[Refused | None]]:
        """Keep schedules, one call each, and two more for each disabled one: see ``ScheduleStore.put``."""
        answers: dict[int, Any] = {}
        jobs: dict[int, dict[str, Any]] = {}
        for position, schedule in enumerate(schedules):
            try:
                jobs[position] = to_job(schedule, self._location)
            except TaskQError as error:
                answers[position] = error
        paused = {position for position in jobs if not schedules[position].enabled}
        missing = jobs
        if replace:
            updated = yield from self._update(jobs, paused)
            missing = {position: jobs[position] for position, answer in updated.items() if _code(answer) == MISSING}
            answers.update(updated)
        answers.update((yield from self._create(missing, paused & missing.keys())))
        return [self._refused(answers[position], schedule.name) for position, schedule in enumerate(schedules)]

    def delete(self, names: Sequence[str]) -> Flow[list[bool | Refused]]:
        """Remove schedules, one call each: see ``ScheduleStore.delete``."""
        answers = yield from self._each("delete_job", self._named(names))
        return [
            False if _code(answers[position]) == MISSING else self._refused(answers[position], name) or True
            for position, name in enumerate(names)
        ]

    def names(self, prefix: str = "", *, limit: int = LARGEST_PAGE, cursor: str | None = None) -> Flow[SchedulePage]:
        """List the names on one page of all jobs: see ``ScheduleStore.names``.

        A page can have no matching name although later pages have some.
        """
        page = yield from self._page(min(limit, LARGEST_PAGE), cursor)
        names = [name for job in page.jobs if (name := name_of(job.name)) is not None and name.startswith(prefix)]
        return SchedulePage(names, page.next_page_token or None)

    def load(self, names: Sequence[str]) -> Flow[dict[str, PlatformSchedule]]:
        """Read schedules: see ``ScheduleStore.load``.

        A few schedules are read by one call each, many from the list of all jobs, which contains the jobs as a whole.
        """
        found = (yield from self._listed()) if len(names) > CALLS_AT_ONCE else {}
        # A job that was just created may not be in the list yet.
        unlisted = [name for name in names if name not in found]
        answers = yield from self._each("get_job", self._named(unlisted))
        for position, name in enumerate(unlisted):
            answer = answers[position]
            if not isinstance(answer, CallError):
                found[name] = from_job(answer, name)
            elif answer.code != MISSING:
                raise explain(self._location, answer, name) from answer
        return {name: found[name] for name in names if name in found}

    def _create(self, jobs: Mapping[int, Mapping[str, Any]], paused: Collection[int]) -> Flow[dict[int, Any]]:
        """Create jobs.

        Returns:
            Position -> answer or failure; None: the job exists already, because the answer to an earlier call was lost
            or because another process was faster.
        """
        first = {position: {**job, "schedule": RAREST} if position in paused else job for position, job in jobs.items()}
        requests = {position: {"parent": self._location.parent, "job": job} for position, job in first.items()}
        answers = yield from self._each("create_job", requests)
        there = {position for position, answer in answers.items() if _code(answer) == EXISTS}
        begun = {position: {"name": jobs[position]["name"]} for position in sorted(there.intersection(paused))}
        for position, answer in (yield from self._each("get_job", begun)).items():
            if _is_half_made(answer, jobs[position]):
                answers[position] = answer
        answers.update({position: None for position in there if isinstance(answers[position], CallError)})
        unfinished = {
            position: jobs[position]
            for position in sorted(paused)
            if answers[position] is not None and not isinstance(answers[position], CallError)
        }
        answers.update((yield from self._update(unfinished, paused)))
        return answers

    def _update(self, jobs: Mapping[int, Mapping[str, Any]], paused: Collection[int]) -> Flow[dict[int, Any]]:
        """Overwrite jobs, and pause or resume each one as needed; returns answers and failures by position."""
        named = {position: {"name": job["name"]} for position, job in jobs.items()}
        answers = yield from self._change_state("pause_job", {p: each for p, each in named.items() if p in paused})
        requests = {
            position: {"job": job, "update_mask": {"paths": UPDATED_FIELDS}}
            for position, job in jobs.items()
            if not isinstance(answers.get(position), CallError)
        }
        answers.update((yield from self._each("update_job", requests)))
        locked = {position: named[position] for position in requests if _code(answers[position]) == WRONG_STATE}
        if locked:
            resumed = yield from self._change_state("resume_job", locked)
            again = {p: requests[p] for p, answer in resumed.items() if not isinstance(answer, CallError)}
            answers.update((yield from self._each("update_job", again)))
        for operation, wrong in (("pause_job", "ENABLED"), ("resume_job", "PAUSED")):
            wanted = [p for p in requests if (p in paused) == (operation == "pause_job")]
            left = {p: named[p] for p in wanted if _state(answers[p]) == wrong}
            answers.update((yield from self._change_state(operation, left)))
        return answers

    def _change_state(self, operation: str, named: Mapping[int, Mapping[str, Any]]) -> Flow[dict[int, Any]]:
        """Pause or resume jobs. A job that refuses because of its state is already in the wanted state."""
        answers = yield from self._each(operation, named)
        return {p: None if _code(answer) == WRONG_STATE else answer for p, answer in answers.items()}

    def _listed(self) -> Flow[dict[str, PlatformSchedule]]:
        found: dict[str, PlatformSchedule] = {}
        cursor: str | None = None
        while True:
            page = yield from self._page(LARGEST_PAGE, cursor)
            for job in page.jobs:
                if (name := name_of(job.name)) is not None:
                    found[name] = from_job(job, name)
            cursor = page.next_page_token
            if not cursor:
                return found

    def _page(self, size: int, cursor: str | None) -> Flow[Any]:
        request = {"parent": self._location.parent, "page_size": size, "page_token": cursor or ""}
        try:
            return (yield Call(_SERVICE, "list_jobs", {"request": request}))
        except CallError as error:
            raise explain(self._location, error) from error

    def _named(self, names: Sequence[str]) -> dict[int, dict[str, Any]]:
        return {position: {"name": self._location.job(name)} for position, name in enumerate(names)}

    def _refused(self, answer: Any, name: str) -> Refused | None:
        if isinstance(answer, CallError):
            return Refused(explain(self._location, answer, name))
        return Refused(answer) if isinstance(answer, TaskQError) else None

    def _each(self, operation: str, requests: Mapping[int, Mapping[str, Any]]) -> Flow[dict[int, Any]]:
        """Make one call for each request, up to 20 at once; returns answers and failures by position.

        If the quota of calls is used up, the remaining calls wait for the next minute; 1,000 jobs take two minutes.
        """
        answers: dict[int, Any] = {}
        left, pauses = list(requests), 0
        while left:
            wave, left = left[:CALLS_AT_ONCE], left[CALLS_AT_ONCE:]
            calls = [Call(_SERVICE, operation, {"request": requests[position]}) for position in wave]
            answers.update(zip(wave, (yield Gather(calls)), strict=True))
            early = [position for position in wave if _is_over_the_rate(answers[position])]
            if early and pauses < MOST_PAUSES:
                logger.warning(
                    "Cloud Scheduler takes no more calls this minute; the remaining calls follow in %d s: %s",
                    PAUSE_SECONDS,
                    answers[early[0]].message,
                    extra={"action": "cloud_scheduler.waiting"},
                )
                yield Sleep(PAUSE_SECONDS)
                pauses += 1
                left = early + left
        return answers


def _is_half_made(answer: Any, job: Mapping[str, Any]) -> bool:
    """Whether an earlier call created a job and didn't finish it."""
    if isinstance(answer, CallError):
        return False
    return bool(answer.schedule == RAREST and answer.pubsub_target.data == job["pubsub_target"]["data"])


def _is_over_the_rate(answer: Any) -> bool:
    """Whether a call exceeded the quota of calls. Google's message says "per minute" then, unlike for too many jobs."""
    return isinstance(answer, CallError) and answer.trouble is Trouble.THROTTLED and "per minute" in answer.message


def _code(answer: Any) -> str | None:
    return answer.code if isinstance(answer, CallError) else None


def _state(answer: Any) -> str | None:
    return None if answer is None or isinstance(answer, CallError) else str(answer.state.name)
