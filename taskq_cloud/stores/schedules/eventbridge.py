"""Keeps schedules in one schedule group of Amazon EventBridge Scheduler, each of which sends a message to an SQS queue.

The group, the role and the dead-letter queue must exist; the store creates none of them. ``_eventbridge_schedules``
converts schedules, and ``_eventbridge_errors`` explains failures.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self
from urllib.parse import SplitResult, unquote

from taskq_cloud.core.backoff import DEFAULT_BACKOFF, RNG
from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Sleep
from taskq_cloud.core.model.capabilities import ScheduleCapabilities
from taskq_cloud.core.model.ids import new_id
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.platform_schedule import PlatformSchedule, SchedulePage
from taskq_cloud.core.ports import Service
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured, TaskQError
from taskq_cloud.stores.schedules._eventbridge_errors import CONFLICT, MISSING, explain
from taskq_cloud.stores.schedules._eventbridge_schedules import (
    LARGEST_INPUT_BYTES,
    ScheduleGroup,
    check_name,
    from_answer,
    to_parameters,
)

PRECISION_SECONDS: Final = 60
"""How late a schedule may fire: 1:00 means between 1:00:00 and 1:00:59 (EventBridge Scheduler User Guide,
"schedule-types")."""

LARGEST_PAGE: Final = 100
"""The most names on a page (EventBridge Scheduler API Reference, "ListSchedules")."""

CALLS_AT_ONCE: Final = 20
"""How many calls run at once, since there is no batch call."""

_SERVICE: Final = "scheduler"
_ROLE_ARN: Final = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")
_QUEUE_ARN: Final = re.compile(r"arn:aws[a-z-]*:sqs:[a-z0-9-]+:\d+:[\w-]+")
_KEY_ARN: Final = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[\w-]+")
OPTIONS: Final = ("dead_letter", "endpoint_url", "kms_key", "region", "role")
"""The options of the URL."""
_EXAMPLE: Final = "eventbridge://my-group?role=arn:aws:iam::123456789012:role/my-scheduler"


class EventBridgeSchedules:
    """Keeps schedules in EventBridge Scheduler.

    Args:
        group: the schedule group, with its role and dead-letter queue.
        rng: the random numbers for the pauses before repeated calls.
    """

    capabilities: ClassVar[ScheduleCapabilities] = ScheduleCapabilities(
        precision_seconds=PRECISION_SECONDS,
        least_lead_seconds=PRECISION_SECONDS,
        largest_body_bytes=LARGEST_INPUT_BYTES,
        # The words are from the User Guide, "managing-schedule-context-attributes".
        expressions="eventbridge",
        placeholder="<aws.scheduler.",
        scheduled_time="<aws.scheduler.scheduled-time>",
        shared_between_processes=True,
        durable=True,
    )

    def __init__(self, group: ScheduleGroup, rng: random.Random = RNG) -> None:
        self._group = group
        self._rng = rng

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> Self:
        """Make the store for ``eventbridge://group?role=ARN``.

        Args:
            url: the URL; also takes the options ``dead_letter`` (a queue's ARN), ``kms_key`` (a key's ARN),
                ``region`` and ``endpoint_url``.
            options: not used.

        Raises:
            ImproperlyConfigured: a part of the URL is wrong; the error names the part.
        """
        query = query_of(url, OPTIONS)
        group, role, dead_letter = unquote(url.netloc), query.get("role", ""), query.get("dead_letter")
        if not group or url.path.strip("/"):
            raise ImproperlyConfigured(f"{shown(url)} doesn't name a schedule group: write {_EXAMPLE}")
        if not _ROLE_ARN.fullmatch(role):
            raise ImproperlyConfigured(f"{shown(url)}: role={role!r} is not the ARN of an IAM role: write {_EXAMPLE}")
        if dead_letter and (dead_letter.endswith(".fifo") or not _QUEUE_ARN.fullmatch(dead_letter)):
            raise ImproperlyConfigured(
                f"{shown(url)}: dead_letter={dead_letter!r} is not the ARN of a standard SQS queue: write "
                "arn:aws:sqs:REGION:ACCOUNT:NAME"
            )
        key = query.get("kms_key")
        if key and not _KEY_ARN.fullmatch(key):
            # Another account's alias, or an id, would be looked up with each call.
            raise ImproperlyConfigured(
                f"{shown(url)}: kms_key={key!r} is not the ARN of a key: write arn:aws:kms:REGION:ACCOUNT:key/ID"
            )
        region, endpoint_url = query.get("region"), query.get("endpoint_url")
        return cls(ScheduleGroup(check_name(group), role, dead_letter, region, endpoint_url, key))

    @property
    def services(self) -> Mapping[str, Service]:
        """The client of EventBridge Scheduler, in the URL's region and at the URL's endpoint."""
        options = (("endpoint_url", self._group.endpoint_url), ("region", self._group.region))
        return {_SERVICE: Service("aws", options)}

    def kept(self, schedule: PlatformSchedule) -> PlatformSchedule:
        """Convert a schedule to the parameters of a call and back: see ``ScheduleStore.kept``."""
        return from_answer(to_parameters(schedule, self._group))

    def put(self, schedules: Sequence[PlatformSchedule], *, replace: bool = False) -> Flow[list[Refused | None]]:
        """Keep schedules, one call each: see ``ScheduleStore.put``."""
        answers: dict[int, Any] = {}
        parameters: dict[int, dict[str, Any]] = {}
        for position, schedule in enumerate(schedules):
            try:
                # AWS does nothing for a token that it already knows. So a repeated call, whose answer was lost, needs
                # the first call's token, and a later call with the same parameters (paused, resumed, paused) a new one.
                parameters[position] = {**to_parameters(schedule, self._group), "ClientToken": new_id()}
            except TaskQError as error:
                answers[position] = error
        missing = set(parameters)
        if replace:
            updated = yield from self._repeat_on_conflict("update_schedule", parameters)
            missing = {position for position, answer in updated.items() if _code(answer) == MISSING}
            answers.update({position: updated[position] for position in updated.keys() - missing})
        answers.update((yield from self._each("create_schedule", {p: parameters[p] for p in sorted(missing)})))
        return [
            # The schedule exists already: this call made it and its answer was lost, or another process was faster.
            None if _code(answer) == CONFLICT and position in missing else self._refused(answer, schedule.name)
            for position, schedule in enumerate(schedules)
            for answer in (answers[position],)
        ]

    def delete(self, names: Sequence[str]) -> Flow[list[bool | Refused]]:
        """Remove schedules, one call each: see ``ScheduleStore.delete``."""
        answers = yield from self._repeat_on_conflict("delete_schedule", self._named(names))
        return [
            False if _code(answers[position]) == MISSING else self._refused(answers[position], name) or True
            for position, name in enumerate(names)
        ]

    def names(self, prefix: str = "", *, limit: int = LARGEST_PAGE, cursor: str | None = None) -> Flow[SchedulePage]:
        """List a page of names, at most 100, in one call: see ``ScheduleStore.names``."""
        parameters: dict[str, Any] = {"GroupName": self._group.name, "MaxResults": min(limit, LARGEST_PAGE)}
        if prefix:
            parameters["NamePrefix"] = prefix
        if cursor:
            parameters["NextToken"] = cursor
        try:
            answer = yield Call(_SERVICE, "list_schedules", parameters)
        except CallError as error:
            raise explain(self._group, error) from error
        return SchedulePage([each["Name"] for each in answer["Schedules"]], answer.get("NextToken"))

    def load(self, names: Sequence[str]) -> Flow[dict[str, PlatformSchedule]]:
        """Read schedules, one call each: see ``ScheduleStore.load``."""
        answers = yield from self._each("get_schedule", self._named(names))
        found = {}
        for position, name in enumerate(names):
            answer = answers[position]
            if isinstance(answer, CallError):
                if answer.code == MISSING:
                    continue
                raise explain(self._group, answer, name) from answer
            found[name] = from_answer(answer)
        return found

    def _named(self, names: Sequence[str]) -> dict[int, dict[str, Any]]:
        return {position: {"Name": name, "GroupName": self._group.name} for position, name in enumerate(names)}

    def _refused(self, answer: Any, name: str) -> Refused | None:
        if isinstance(answer, CallError):
            return Refused(explain(self._group, answer, name))
        return Refused(answer) if isinstance(answer, TaskQError) else None

    def _repeat_on_conflict(self, operation: str, parameters: Mapping[int, Mapping[str, Any]]) -> Flow[dict[int, Any]]:
        """Make calls like ``_each``, and repeat those with a conflict: another call was changing the same schedule."""
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
        """Make one call for each set of parameters, up to 20 at once; returns answers and failures by position."""
        answers: dict[int, Any] = {}
        positions = list(parameters)
        for begin in range(0, len(positions), CALLS_AT_ONCE):
            wave = positions[begin : begin + CALLS_AT_ONCE]
            calls = [Call(_SERVICE, operation, parameters[position]) for position in wave]
            answers.update(zip(wave, (yield Gather(calls)), strict=True))
        return answers


def _code(answer: Any) -> str | None:
    return answer.code if isinstance(answer, CallError) else None
