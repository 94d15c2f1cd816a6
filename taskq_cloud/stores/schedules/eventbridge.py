"""Amazon EventBridge Scheduler: schedules that send a message to an SQS queue, kept in one schedule group.

Group, role and dead-letter queue have to be there; none is created. How a schedule is written is
``_eventbridge_schedules``', what a failure means ``_eventbridge_errors``' business.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self
from urllib.parse import SplitResult, unquote

from taskq_cloud.core.backoff import DEFAULT_BACKOFF
from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Sleep
from taskq_cloud.core.model.ids import new_id
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.platform_schedule import PlatformSchedule, ScheduleCapabilities, SchedulePage
from taskq_cloud.core.ports import Service
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured, TaskQError
from taskq_cloud.stores.schedules._eventbridge_errors import CONFLICT, MISSING, explain
from taskq_cloud.stores.schedules._eventbridge_schedules import (
    LARGEST_INPUT_BYTES,
    Place,
    check_name,
    from_answer,
    to_parameters,
)

PRECISION_SECONDS: Final = 60
"""EventBridge Scheduler User Guide, "schedule-types": at 1:00 means between 1:00:00 and 1:00:59."""

LARGEST_PAGE: Final = 100
"""EventBridge Scheduler API Reference, "ListSchedules"."""

CALLS_AT_ONCE: Final = 20
"""Calls that are under way together: there is no batch call."""

_SERVICE: Final = "scheduler"
_ROLE_ARN: Final = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")
_QUEUE_ARN: Final = re.compile(r"arn:aws[a-z-]*:sqs:[a-z0-9-]+:\d+:[\w-]+")
_OPTIONS: Final = ("dead_letter", "endpoint_url", "region", "role")
_EXAMPLE: Final = "eventbridge://my-group?role=arn:aws:iam::123456789012:role/my-scheduler"

_RNG: Final = random.Random()


class EventBridgeSchedules:
    """Keeps schedules in EventBridge Scheduler.

    Args:
        place: the group, the role and the dead-letter queue.
        rng: of the pauses between calls that are made again.
    """

    capabilities: ClassVar[ScheduleCapabilities] = ScheduleCapabilities(
        precision_seconds=PRECISION_SECONDS,
        least_lead_seconds=PRECISION_SECONDS,
        largest_body_bytes=LARGEST_INPUT_BYTES,
        # User Guide, "managing-schedule-context-attributes".
        expressions="eventbridge",
        placeholder="<aws.scheduler.",
        scheduled_time="<aws.scheduler.scheduled-time>",
        shared_between_processes=True,
        durable=True,
    )

    def __init__(self, place: Place, rng: random.Random = _RNG) -> None:
        self._place = place
        self._rng = rng

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> Self:
        """A store for ``eventbridge://group?role=ARN``.

        Args:
            url: the URL; also takes ``dead_letter`` (a queue's ARN), ``region`` and ``endpoint_url``.
            options: none.

        Raises:
            ImproperlyConfigured: one of them is wrong; says which.
        """
        query = query_of(url, _OPTIONS)
        group, role, dead_letter = unquote(url.netloc), query.get("role", ""), query.get("dead_letter")
        if not group or url.path.strip("/"):
            raise ImproperlyConfigured(f"{shown(url)} names no schedule group: write {_EXAMPLE}")
        if not _ROLE_ARN.fullmatch(role):
            raise ImproperlyConfigured(f"{shown(url)}: role={role!r} is not the ARN of an IAM role: write {_EXAMPLE}")
        if dead_letter and (dead_letter.endswith(".fifo") or not _QUEUE_ARN.fullmatch(dead_letter)):
            raise ImproperlyConfigured(
                f"{shown(url)}: dead_letter={dead_letter!r} is not the ARN of a standard SQS queue"
            )
        return cls(Place(check_name(group), role, dead_letter, query.get("region"), query.get("endpoint_url")))

    @property
    def services(self) -> Mapping[str, Service]:
        """EventBridge Scheduler, in the URL's region and at its endpoint."""
        options = (("endpoint_url", self._place.endpoint_url), ("region", self._place.region))
        return {_SERVICE: Service("aws", options)}

    def kept(self, schedule: PlatformSchedule) -> PlatformSchedule:
        """Through the parameters of the call and back: ``ScheduleStore.kept``."""
        return from_answer(to_parameters(schedule, self._place))

    def put(self, schedules: Sequence[PlatformSchedule], *, replace: bool = False) -> Flow[list[Refused | None]]:
        """Keep schedules, a call each: ``ScheduleStore.put``."""
        answers: dict[int, Any] = {}
        parameters: dict[int, dict[str, Any]] = {}
        for position, schedule in enumerate(schedules):
            try:
                # Made again after its answer was lost, a call is the same call; the same parameters at another time are
                # another one (paused, resumed, paused): AWS answers a token that it knows without doing anything.
                parameters[position] = {**to_parameters(schedule, self._place), "ClientToken": new_id()}
            except TaskQError as error:
                answers[position] = error
        missing = set(parameters)
        if replace:
            updated = yield from self._insist("update_schedule", parameters)
            missing = {position for position, answer in updated.items() if _code(answer) == MISSING}
            answers.update({position: updated[position] for position in updated.keys() - missing})
        answers.update((yield from self._each("create_schedule", {p: parameters[p] for p in sorted(missing)})))
        return [
            # Somebody was faster: this very call, whose answer was lost, or another process with the same schedule.
            None if _code(answer) == CONFLICT and position in missing else self._refused(answer, schedule.name)
            for position, schedule in enumerate(schedules)
            for answer in (answers[position],)
        ]

    def delete(self, names: Sequence[str]) -> Flow[list[bool | Refused]]:
        """Remove schedules, a call each: ``ScheduleStore.delete``."""
        answers = yield from self._insist("delete_schedule", self._named(names))
        return [
            False if _code(answers[position]) == MISSING else self._refused(answers[position], name) or True
            for position, name in enumerate(names)
        ]

    def names(self, prefix: str = "", *, limit: int = LARGEST_PAGE, cursor: str | None = None) -> Flow[SchedulePage]:
        """A page of names, at most 100, in one call: ``ScheduleStore.names``."""
        parameters: dict[str, Any] = {"GroupName": self._place.group, "MaxResults": min(limit, LARGEST_PAGE)}
        if prefix:
            parameters["NamePrefix"] = prefix
        if cursor:
            parameters["NextToken"] = cursor
        try:
            answer = yield Call(_SERVICE, "list_schedules", parameters)
        except CallError as error:
            raise explain(self._place, error) from error
        return SchedulePage([each["Name"] for each in answer["Schedules"]], answer.get("NextToken"))

    def load(self, names: Sequence[str]) -> Flow[dict[str, PlatformSchedule]]:
        """Read schedules, a call each: ``ScheduleStore.load``."""
        answers = yield from self._each("get_schedule", self._named(names))
        found = {}
        for position, name in enumerate(names):
            answer = answers[position]
            if isinstance(answer, CallError):
                if answer.code == MISSING:
                    continue
                raise explain(self._place, answer, name) from answer
            found[name] = from_answer(answer)
        return found

    def _named(self, names: Sequence[str]) -> dict[int, dict[str, Any]]:
        return {position: {"Name": name, "GroupName": self._place.group} for position, name in enumerate(names)}

    def _refused(self, answer: Any, name: str) -> Refused | None:
        if isinstance(answer, CallError):
            return Refused(explain(self._place, answer, name))
        return Refused(answer) if isinstance(answer, TaskQError) else None

    def _insist(self, operation: str, parameters: Mapping[int, Mapping[str, Any]]) -> Flow[dict[int, Any]]:
        """``_each``, again where another call was changing the same schedule: here that is what a conflict means."""
        answers: dict[int, Any] = {}
        waiting = dict(parameters)
        for attempt in range(DEFAULT_BACKOFF.attempts):
            if attempt:
                yield Sleep(DEFAULT_BACKOFF.seconds(attempt - 1, self._rng))
            answers.update((yield from self._each(operation, waiting)))
            waiting = {p: each for p, each in waiting.items() if _code(answers[p]) == CONFLICT}
            if not waiting:
                break
        return answers

    def _each(self, operation: str, parameters: Mapping[int, Mapping[str, Any]]) -> Flow[dict[int, Any]]:
        """One call for each of several parameters, some at once; answers and failures by position."""
        answers: dict[int, Any] = {}
        positions = list(parameters)
        for begin in range(0, len(positions), CALLS_AT_ONCE):
            wave = positions[begin : begin + CALLS_AT_ONCE]
            calls = [Call(_SERVICE, operation, parameters[position]) for position in wave]
            answers.update(zip(wave, (yield Gather(calls)), strict=True))
        return answers


def _code(answer: Any) -> str | None:
    return answer.code if isinstance(answer, CallError) else None
