"""Observes the schedules of a deployment: their group, and the declared schedules in it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.deploy.doctor.calls import call
from taskq_cloud.deploy.doctor.observed import ObservedSchedule
from taskq_cloud.deploy.topology.model import Topology

_ABSENT: Final = ("ResourceNotFoundException",)


def group(name: str) -> Flow[bool]:
    """Return whether a schedule group exists."""
    found = yield from call(f"schedule group {name}", "scheduler", "get_schedule_group", _ABSENT, Name=name)
    return found is not None


def schedules(topology: Topology) -> Flow[tuple[frozenset[str], dict[str, ObservedSchedule]]]:
    """Observe the schedule group and its declared schedules.

    Returns:
        The names of the groups that exist, which is one at most, and the schedules that exist, by name.
    """
    declared = topology.schedule_group
    if declared is None or not (yield from group(declared.name)):
        return frozenset(), {}
    found = {}
    for each in topology.schedules:
        resource = f"schedule {each.name}"
        answer = yield from call(
            resource, "scheduler", "get_schedule", _ABSENT, Name=each.name, GroupName=declared.name
        )
        if answer is not None:
            found[each.name] = _schedule(answer)
    return frozenset({declared.name}), found


def _schedule(found: Mapping[str, Any]) -> ObservedSchedule:
    target, end = found["Target"], found.get("EndDate")
    fields = {
        "expression": found["ScheduleExpression"],
        "timezone": found.get("ScheduleExpressionTimezone") or "UTC",
        "queue": str(target["Arn"]).rpartition(":")[2],
        "input": target.get("Input", ""),
        "message_group_id": target.get("SqsParameters", {}).get("MessageGroupId"),
        "flexible_window_minutes": found["FlexibleTimeWindow"].get("MaximumWindowInMinutes"),
        "enabled": found.get("State", "ENABLED") == "ENABLED",
        "end_date": end.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(end, datetime) else None,
    }
    dead_letter = target.get("DeadLetterConfig", {}).get("Arn")
    return ObservedSchedule(fields, target["RoleArn"], dead_letter, found.get("KmsKeyArn") or None)
