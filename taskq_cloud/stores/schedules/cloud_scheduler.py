"""Google Cloud Scheduler: schedules that publish a message to a Pub/Sub topic, the jobs of one project and location.

For periodic tasks alone: it has no one-off times. How a schedule is written is ``_cloud_scheduler_jobs``', what a
failure means ``_cloud_scheduler_errors``' business.

Whether a job fires is no part of it: it is created enabled, and paused and resumed by calls of their own. Their order
is such that a crash between any two leaves nothing that fires and should not: a disabled schedule's job is created for
the rarest of times, paused, and only then given its own; one that is to be disabled is paused before it is changed, and
one that is to be enabled is changed before it is resumed. Whatever was left half done differs from what is wanted, and
the next ``put`` does it. Google doesn't say whether a paused job can be changed, nor whether it stays paused then
(there are reports of either), so neither is relied on.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Final, Self
from urllib.parse import SplitResult

from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Sleep, Trouble
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.platform_schedule import PlatformSchedule, ScheduleCapabilities, SchedulePage
from taskq_cloud.core.ports import Service
from taskq_cloud.errors import TaskQError
from taskq_cloud.stores.schedules._cloud_scheduler_errors import EXISTS, MISSING, WRONG_STATE, explain
from taskq_cloud.stores.schedules._cloud_scheduler_jobs import (
    LARGEST_MESSAGE_BYTES,
    RAREST,
    WRITTEN,
    Place,
    from_job,
    kept,
    name_of,
    read_place,
    to_job,
)

PRECISION_SECONDS: Final = 60
"""A job's times are minutes (Cloud Scheduler documentation, "Cron job format and time zone")."""

LARGEST_PAGE: Final = 500
"""Cloud Scheduler API Reference, "ListJobs"."""

CALLS_AT_ONCE: Final = 20
"""Calls that are under way together: there is no batch call."""

PAUSE_SECONDS: Final = 60
"""Quotas of calls are by the minute: 500 writes and 1,250 reads ("Quotas and limits")."""

MOST_PAUSES: Final = 10
"""Of one kind of call: somebody else uses the quota up, then."""

logger = logging.getLogger("taskq_cloud.schedulers.cloud_scheduler")

_SERVICE: Final = "cloud_scheduler"


class CloudSchedulerJobs:
    """Keeps schedules in Cloud Scheduler.

    Args:
        place: the project and the location.
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

    def __init__(self, place: Place) -> None:
        self._place = place

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> Self:
        """A store for ``cloudscheduler://project/location``: ``read_place``."""
        return cls(read_place(url))

    @property
    def services(self) -> Mapping[str, Service]:
        """Cloud Scheduler, at the URL's endpoint."""
        return {_SERVICE: Service("pubsub", (("endpoint", self._place.endpoint),))}

    def kept(self, schedule: PlatformSchedule) -> PlatformSchedule:
        """``ScheduleStore.kept``."""
        return kept(schedule, self._place)

    def put(self, schedules: Sequence[PlatformSchedule], *, replace: bool = False) -> Flow[list[Refused | None]]:
        """Keep schedules, a call each, and two more for those that are to be paused: ``ScheduleStore.put``."""
        answers: dict[int, Any] = {}
        jobs: dict[int, dict[str, Any]] = {}
        for position, schedule in enumerate(schedules):
            try:
                jobs[position] = to_job(schedule, self._place)
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
        """Remove schedules, a call each: ``ScheduleStore.delete``."""
        answers = yield from self._each("delete_job", self._named(names))
        return [
            False if _code(answers[position]) == MISSING else self._refused(answers[position], name) or True
            for position, name in enumerate(names)
        ]

    def names(self, prefix: str = "", *, limit: int = LARGEST_PAGE, cursor: str | None = None) -> Flow[SchedulePage]:
        """The names on a page of all jobs, which may be none, with more to come: ``ScheduleStore.names``."""
        page = yield from self._page(min(limit, LARGEST_PAGE), cursor)
        names = [name for job in page.jobs if (name := name_of(job.name)) is not None and name.startswith(prefix)]
        return SchedulePage(names, page.next_page_token or None)

    def load(self, names: Sequence[str]) -> Flow[dict[str, PlatformSchedule]]:
        """Read schedules: a few by a call each, many out of the list of all, which is whole: ``ScheduleStore.load``."""
        found = (yield from self._listed()) if len(names) > CALLS_AT_ONCE else {}
        # What was made just now may not be in the list yet.
        unlisted = [name for name in names if name not in found]
        answers = yield from self._each("get_job", self._named(unlisted))
        for position, name in enumerate(unlisted):
            answer = answers[position]
            if not isinstance(answer, CallError):
                found[name] = from_job(answer, name)
            elif answer.code != MISSING:
                raise explain(self._place, answer, name) from answer
        return {name: found[name] for name in names if name in found}

    def _create(self, jobs: Mapping[int, Mapping[str, Any]], paused: Collection[int]) -> Flow[dict[int, Any]]:
        """Make jobs; answers by position, None where somebody was faster: this very call, or another process."""
        first = {position: {**job, "schedule": RAREST} if position in paused else job for position, job in jobs.items()}
        requests = {position: {"parent": self._place.parent, "job": job} for position, job in first.items()}
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
        """Write over jobs, and pause or resume them as it is wanted; answers by position."""
        named = {position: {"name": job["name"]} for position, job in jobs.items()}
        answers = yield from self._change_state("pause_job", {p: each for p, each in named.items() if p in paused})
        requests = {
            position: {"job": job, "update_mask": {"paths": WRITTEN}}
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
        """Pause or resume jobs. One that can't be, as it is in another state, is so already."""
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
        request = {"parent": self._place.parent, "page_size": size, "page_token": cursor or ""}
        try:
            return (yield Call(_SERVICE, "list_jobs", {"request": request}))
        except CallError as error:
            raise explain(self._place, error) from error

    def _named(self, names: Sequence[str]) -> dict[int, dict[str, Any]]:
        return {position: {"name": self._place.job(name)} for position, name in enumerate(names)}

    def _refused(self, answer: Any, name: str) -> Refused | None:
        if isinstance(answer, CallError):
            return Refused(explain(self._place, answer, name))
        return Refused(answer) if isinstance(answer, TaskQError) else None

    def _each(self, operation: str, requests: Mapping[int, Mapping[str, Any]]) -> Flow[dict[int, Any]]:
        """One call for each of several requests, some at once; answers and failures by position.

        Where a minute's quota of calls is used up, the next minute is waited for: a thousand jobs take two.
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
                    "Cloud Scheduler takes no more calls this minute; going on in %d s: %s",
                    PAUSE_SECONDS,
                    answers[early[0]].message,
                    extra={"action": "cloud_scheduler.waiting"},
                )
                yield Sleep(PAUSE_SECONDS)
                pauses += 1
                left = early + left
        return answers


def _is_half_made(answer: Any, job: Mapping[str, Any]) -> bool:
    """Whether a job is one that a call before this one has begun, and not finished."""
    if isinstance(answer, CallError):
        return False
    return bool(answer.schedule == RAREST and answer.pubsub_target.data == job["pubsub_target"]["data"])


def _is_over_the_rate(answer: Any) -> bool:
    """Whether a call was one too many in a minute. Of too many jobs Google says that they are, and not "per minute"."""
    return isinstance(answer, CallError) and answer.trouble is Trouble.THROTTLED and "per minute" in answer.message


def _code(answer: Any) -> str | None:
    return answer.code if isinstance(answer, CallError) else None


def _state(answer: Any) -> str | None:
    return None if answer is None or isinstance(answer, CallError) else str(answer.state.name)
