"""The doctor's checks of alarms, of the topics through which they reach people, and of the logs that they count.

They are compared if there is any: whether an application has alarms is an input of Terraform.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from taskq_cloud.deploy import policy_documents
from taskq_cloud.deploy.doctor.check import Check, require
from taskq_cloud.deploy.doctor.expected_alarms import FAILED_TASKS, ExpectedAlarm, expected_alarms, failed_tasks_metric
from taskq_cloud.deploy.doctor.matching import TERRAFORM, Kind, Pair, log_groups
from taskq_cloud.deploy.doctor.observed import Observed
from taskq_cloud.deploy.doctor.observed_monitoring import ObservedAlarm, ObservedAlarmTopic, ObservedLogGroup
from taskq_cloud.deploy.topology.model import Function, Service, Topology

AlarmPair: TypeAlias = Pair[ExpectedAlarm, ObservedAlarm]
TopicPair: TypeAlias = Pair[ObservedAlarm, ObservedAlarmTopic]

CLOUDWATCH: Final = "cloudwatch.amazonaws.com"

_ALARMS: Final = Kind("alarm", expected_alarms, lambda observed: observed.alarms, TERRAFORM)


def _topics(topology: Topology, observed: Observed) -> Iterator[TopicPair]:
    """Yield each topic with the first alarm that is published to it."""
    for arn, topic in observed.alarm_topics.items():
        alarm = next(each for each in observed.alarms.values() if arn in each.actions)
        yield Pair(f"topic {arn.rpartition(':')[2]}", alarm, topic, TERRAFORM, topology, observed)


def _watches(alarm: AlarmPair) -> str | None:
    live = alarm.live.fields
    changed = [
        f"{name} is {live.get(name)!r}, {value!r} is expected"
        for name, value in alarm.declared.fields.items()
        if live.get(name) != value
    ]
    return require(not changed, "; ".join(changed))


def _tells(alarm: AlarmPair) -> str | None:
    if not alarm.live.enabled:
        return "its actions are turned off"
    # Without a topic for any alarm, people look at the console.
    others = any(each.actions for each in alarm.observed.alarms.values())
    return require(bool(alarm.live.actions) or not others, "it has no action, and other alarms of the application have")


def _publishable(topic: TopicPair) -> str | None:
    if not topic.live.exists:
        return "it does not exist"
    allowed = _allows(topic.live.policy, ["sns:Publish"], topic.live.arn, topic.declared)
    return require(allowed, f"its policy does not let {CLOUDWATCH} publish")


def _usable_key(topic: TopicPair) -> str | None:
    if topic.live.key_policy is None:
        return None
    allowed = _allows(topic.live.key_policy, ["kms:Decrypt", "kms:GenerateDataKey"], "*", topic.declared)
    return require(allowed, f"its key {topic.live.kms_key} can't be used by {CLOUDWATCH}")


def _allows(policy: Mapping[str, Any] | None, actions: list[str], resource: str, alarm: ObservedAlarm) -> bool:
    account = alarm.arn.split(":")[4]
    source = {"aws:sourcearn": alarm.arn, "aws:sourceaccount": account, "aws:sourceowner": account}
    return all(
        policy_documents.allows_service(policy, CLOUDWATCH, action, resource, {**source, "aws:securetransport": "true"})
        for action in actions
    )


def _counted(group: Pair[Function | Service, ObservedLogGroup | None]) -> str | None:
    metric = failed_tasks_metric(group.declared.name)
    watched = f"{group.topology.name}-{metric}" in group.observed.alarms
    if not watched or group.live is None:  # a missing group is a finding of logs.missing
        return None
    pattern = group.live.filters.get(metric)
    return require(
        pattern is not None and "".join(pattern.split()) == "".join(FAILED_TASKS.split()),
        f"no metric filter counts its failed tasks as the metric {metric}"
        if pattern is None
        else f"the metric {metric} counts the lines {pattern}; {FAILED_TASKS} is expected",
    )


CHECKS: Final = (
    Check(
        "alarm.missing",
        _ALARMS.missing,
        lambda alarm: "it does not exist, although other alarms do" if alarm.observed.alarms else None,
        lambda alarm: f"nobody notices that {alarm.declared.unnoticed}",
    ),
    Check(
        "alarm.changed",
        _ALARMS.deployed,
        _watches,
        lambda alarm: f"nobody notices that {alarm.declared.unnoticed}, or the alarm is raised without a reason",
    ),
    Check(
        "alarm.actions",
        _ALARMS.deployed,
        _tells,
        lambda alarm: f"the alarm is raised, and nobody is told that {alarm.declared.unnoticed}",
        "apply Terraform, or aws cloudwatch enable-alarm-actions",
    ),
    Check("alarm.filter", log_groups, _counted, "tasks fail, and the alarm on failed tasks is never raised"),
    Check(
        "alarm.topic",
        _topics,
        _publishable,
        "alarms are raised, and nobody is told of them",
        f"apply Terraform, or let {CLOUDWATCH} publish to the topic in its policy",
    ),
    Check(
        "alarm.topic",
        _topics,
        _usable_key,
        "the topic drops every alarm without an error",
        f"give the topic a key whose policy allows kms:Decrypt and kms:GenerateDataKey* to {CLOUDWATCH}",
    ),
    Check(
        "alarm.subscribers",
        _topics,
        lambda topic: require(not topic.live.exists or topic.live.confirmed > 0, "it has no confirmed subscription"),
        "alarms are raised, and nobody is told of them",
        "subscribe to the topic, or confirm the subscription by the link in the mail",
        severity="warning",
    ),
)
