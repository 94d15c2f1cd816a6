"""The doctor's checks of the schedule group, its schedules and its dead-letter queue.

Schedules that ``taskq beat apply`` keeps are compared by ``taskq beat plan``; here are those that Terraform keeps.
"""

from __future__ import annotations

from collections.abc import Iterator

from taskq_cloud.deploy.doctor.finding import Finding
from taskq_cloud.deploy.doctor.matching import PROVISION
from taskq_cloud.deploy.doctor.observed import Observed, ObservedSchedule
from taskq_cloud.deploy.topology.model import Schedule, Topology


def group_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """The group of the schedules."""
    group = topology.schedule_group
    if group is not None and group.name not in observed.schedule_groups:
        yield Finding(
            "schedules.group",
            f"schedule group {group.name}",
            "error",
            "declared, and not there",
            "what is due late, and what is periodic, can't be scheduled",
            PROVISION,
        )


def dead_letter_queue_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """The queue of what could not be sent."""
    group = topology.schedule_group
    if group is not None and group.dead_letter_queue is not None:
        name = group.dead_letter_queue.name
        if name not in observed.queues:
            yield Finding(
                "schedules.dead_letter_missing",
                f"queue {name}",
                "error",
                f"the dead-letter queue of schedule group {group.name} is not there",
                "what the scheduler couldn't send within a day is lost without a trace",
                PROVISION,
            )


def schedule_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A schedule that Terraform keeps."""
    for schedule in topology.schedules:
        # Without the group, which is a finding of its own, none of them is there.
        if schedule.name not in observed.schedules and observed.schedule_groups:
            yield Finding(
                "schedules.missing",
                f"schedule {schedule.name}",
                "error",
                "declared, and not there",
                f"{schedule.description or 'the periodic task'} is never called",
                "apply Terraform",
            )


def schedule_changed(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A schedule that fires at other times, sends something else, or sends it elsewhere."""
    for schedule, there in _pairs(topology, observed):
        wanted = schedule.model_dump(exclude={"name", "description"})
        wanted["queue"] = topology.queue_named(schedule.queue).name
        other = [
            f"{field} is {there.fields[field]!r}, declared is {value!r}"
            for field, value in wanted.items()
            if there.fields[field] != value
        ]
        if other:
            yield Finding(
                "schedules.changed",
                f"schedule {schedule.name}",
                "error",
                "; ".join(other),
                "the task is called at other times, with other arguments, on another queue, or not at all",
                "apply Terraform",
            )


def schedule_role(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """The role that a schedule sends with."""
    for schedule, there in _pairs(topology, observed):
        assert topology.schedule_group is not None  # for the type checker: there are schedules in it
        if there.role != topology.schedule_group.role_arn:
            yield Finding(
                "schedules.role",
                f"schedule {schedule.name}",
                "error",
                f"it sends with {there.role}; declared is {topology.schedule_group.role_arn}",
                "where that role may not send to the queue, the task is never called",
                "apply Terraform",
            )


def schedule_dead_letters(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Where a schedule leaves what it could not send."""
    group = topology.schedule_group
    for schedule, there in _pairs(topology, observed):
        declared = group.dead_letter_queue.name if group is not None and group.dead_letter_queue is not None else None
        live = (there.dead_letter or "").rpartition(":")[2]
        if declared is not None and live != declared:
            yield Finding(
                "schedules.dead_letters",
                f"schedule {schedule.name}",
                "error",
                f"it leaves what can't be sent in {live or 'no queue'}; declared is {declared}",
                "a call that couldn't be sent within a day is lost without a trace",
                "apply Terraform",
            )


def _pairs(topology: Topology, observed: Observed) -> Iterator[tuple[Schedule, ObservedSchedule]]:
    for schedule in topology.schedules:
        if schedule.name in observed.schedules:
            yield schedule, observed.schedules[schedule.name]
