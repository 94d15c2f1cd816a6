"""The doctor's checks of the schedule group, its schedules and its dead-letter queue.

Only schedules that Terraform manages are checked here; ``taskq beat plan`` compares the ones of ``taskq beat apply``.
"""

from __future__ import annotations

from typing import Final

from taskq_cloud.deploy.doctor.check import NOT_DEPLOYED, NOT_YOUR_KEY, Check, equal, missing, require, same_key
from taskq_cloud.deploy.doctor.matching import SCHEDULE_DEAD_LETTER_QUEUES, SCHEDULE_GROUPS, SCHEDULES, Pair
from taskq_cloud.deploy.doctor.observed import ObservedQueue, ObservedSchedule
from taskq_cloud.deploy.topology.model import Schedule, ScheduleGroup


def _same_fields(schedule: Pair[Schedule, ObservedSchedule]) -> str | None:
    declared = schedule.declared.model_dump(exclude={"name", "description"})
    declared["queue"] = schedule.topology.queue_named(schedule.declared.queue).name
    live = schedule.live.fields
    changed = [
        f"{name} is {live[name]!r}, {value!r} is declared" for name, value in declared.items() if live[name] != value
    ]
    return require(not changed, "; ".join(changed))


def _same_role(schedule: Pair[Schedule, ObservedSchedule]) -> str | None:
    group = schedule.topology.schedule_group
    assert group is not None  # for the type checker: a topology with schedules has a group
    return equal(schedule.live.role, group.role_arn, "it sends with the role {}; {} is declared")


def _same_dead_letter_queue(schedule: Pair[Schedule, ObservedSchedule]) -> str | None:
    group = schedule.topology.schedule_group
    if group is None or group.dead_letter_queue is None:
        return None
    return equal(
        (schedule.live.dead_letter or "").rpartition(":")[2] or "no queue",
        group.dead_letter_queue.name,
        "it puts calls that it can't send into {}; {} is declared",
    )


def _key_of_group(schedule: Pair[Schedule, ObservedSchedule]) -> str | None:
    group = schedule.topology.schedule_group
    return same_key(schedule.live.kms_key, None if group is None else group.kms_key_arn)


def _kept_as_declared(queue: Pair[ScheduleGroup, ObservedQueue]) -> str | None:
    dead = queue.declared.dead_letter_queue
    assert dead is not None  # for the type checker: this kind has only groups with such a queue
    return equal(
        queue.live.seconds("MessageRetentionPeriod"),
        dead.message_retention_seconds,
        "it keeps messages for {} s; {} s are declared",
    )


CHECKS: Final = (
    missing("schedules.group", SCHEDULE_GROUPS, "neither late tasks nor periodic tasks can be scheduled"),
    Check(
        "schedules.dead_letter_missing",
        SCHEDULE_DEAD_LETTER_QUEUES.missing,
        lambda queue: f"the dead-letter queue of schedule group {queue.declared.name} does not exist",
        "a call that the scheduler could not send within a day is lost without a trace",
    ),
    Check(
        "schedules.missing",
        SCHEDULES.missing,
        # Without the group none of its schedules exists; schedules.group reports that once.
        lambda schedule: NOT_DEPLOYED if schedule.observed.schedule_groups else None,
        lambda schedule: f"{schedule.declared.description or 'the periodic task'} is never called",
    ),
    Check(
        "schedules.changed",
        SCHEDULES.deployed,
        _same_fields,
        "the task is called at other times, with other arguments, on another queue, or not at all",
    ),
    Check(
        "schedules.role",
        SCHEDULES.deployed,
        _same_role,
        "if that role may not send to the queue, the task is never called",
    ),
    Check(
        "schedules.dead_letters",
        SCHEDULES.deployed,
        _same_dead_letter_queue,
        "a call that could not be sent within a day is lost without a trace",
    ),
    Check("schedules.encryption", SCHEDULES.deployed, _key_of_group, NOT_YOUR_KEY),
    Check(
        "queue.dead_letter_retention",
        SCHEDULE_DEAD_LETTER_QUEUES.deployed,
        _kept_as_declared,
        "calls that could not be sent are deleted sooner than declared, or are paid for longer",
        severity="warning",
    ),
)
