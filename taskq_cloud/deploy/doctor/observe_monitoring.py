"""Observes the alarms of a deployment, the topics that they are published to, and the log groups of its workers."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.deploy.doctor.calls import call
from taskq_cloud.deploy.doctor.expected_alarms import NAMESPACE, expected_alarms
from taskq_cloud.deploy.doctor.observed_monitoring import ObservedAlarm, ObservedAlarmTopic, ObservedLogGroup
from taskq_cloud.deploy.topology.model import Topology

_ALARMS_PER_CALL: Final = 100
"""The most names of one call (CloudWatch API Reference, "DescribeAlarms")."""

_NO_TOPIC: Final = ("NotFound", "NotFoundException")
_NO_GROUP: Final = ("ResourceNotFoundException",)
_NO_KEY: Final = ("NotFoundException",)


def monitoring(topology: Topology, groups: Iterable[str | None], skip: Collection[str]) -> Flow[dict[str, Any]]:
    """Observe alarms and logs; return the fields of ``Observed`` that hold them.

    Args:
        topology: the declaration.
        groups: the names of the log groups of functions and services; None: its logs go elsewhere.
        skip: areas to leave out.
    """
    there = {} if "alarms" in skip else (yield from alarms(topology))
    return {
        "alarms": there,
        "alarm_topics": (yield from alarm_topics(there.values())),
        "log_groups": {} if "logs" in skip else (yield from log_groups(filter(None, groups))),
    }


def alarms(topology: Topology) -> Flow[dict[str, ObservedAlarm]]:
    """Observe the alarms that Terraform makes for a declaration, and return the existing ones by name."""
    names = [each.name for each in expected_alarms(topology)]
    found = {}
    for first in range(0, len(names), _ALARMS_PER_CALL):
        some = names[first : first + _ALARMS_PER_CALL]
        answer = yield from call(
            f"alarms of {topology.name}", "cloudwatch", "describe_alarms", AlarmNames=some, MaxRecords=_ALARMS_PER_CALL
        )
        for each in (answer or {}).get("MetricAlarms", []):
            dimensions = {one["Name"]: one["Value"] for one in each.get("Dimensions", [])}
            fields = {**each, "Dimensions": dimensions}
            actions, enabled = each.get("AlarmActions", []), each.get("ActionsEnabled", True)
            found[each["AlarmName"]] = ObservedAlarm(each["AlarmArn"], fields, actions, enabled)
    return found


def alarm_topics(alarms: Iterable[ObservedAlarm]) -> Flow[dict[str, ObservedAlarmTopic]]:
    """Observe the topics that alarms are published to, by ARN; topics of other accounts can't be observed."""
    found = {}
    for alarm in alarms:
        for action in alarm.actions:
            if action.split(":")[2] == "sns" and _account(action) == _account(alarm.arn) and action not in found:
                found[action] = yield from _topic(action)
    return found


def _topic(arn: str) -> Flow[ObservedAlarmTopic]:
    resource = f"topic {arn}"
    answer = yield from call(resource, "sns", "get_topic_attributes", _NO_TOPIC, TopicArn=arn)
    if answer is None:
        return ObservedAlarmTopic(arn, exists=False)
    attributes: Mapping[str, str] = answer["Attributes"]
    key = attributes.get("KmsMasterKeyId") or None
    return ObservedAlarmTopic(
        arn,
        exists=True,
        policy=json.loads(attributes.get("Policy") or "{}"),
        kms_key=key,
        key_policy=(yield from _key_policy(arn, key)) if key else None,
        confirmed=int(attributes.get("SubscriptionsConfirmed", "0")),
    )


def _key_policy(topic: str, key: str) -> Flow[Mapping[str, Any] | None]:
    """Return the policy of a topic's key, an empty one if the key can't be used; None if it is of another account."""
    if key.startswith("arn:") and _account(key) != _account(topic):
        return None
    resource = f"topic {topic}"
    described = yield from call(resource, "kms", "describe_key", _NO_KEY, KeyId=key)
    metadata: Mapping[str, Any] = (described or {}).get("KeyMetadata", {})
    # The policy of a key that AWS manages, such as alias/aws/sns, lets only its own service use it.
    if metadata.get("KeyManager") != "CUSTOMER" or metadata.get("KeyState", "Enabled") != "Enabled":
        return {}
    answer = yield from call(resource, "kms", "get_key_policy", KeyId=metadata["KeyId"], PolicyName="default")
    policy: Mapping[str, Any] = json.loads((answer or {})["Policy"])
    return policy


def log_groups(names: Iterable[str]) -> Flow[dict[str, ObservedLogGroup]]:
    """Observe log groups, and return the existing ones by name."""
    found = {}
    for name in names:
        resource = f"log group {name}"
        # Other groups may begin with the same name, but none of them comes before it.
        answer = yield from call(resource, "logs", "describe_log_groups", logGroupNamePrefix=name, limit=1)
        groups: list[Mapping[str, Any]] = [
            each for each in (answer or {}).get("logGroups", []) if each["logGroupName"] == name
        ]
        if groups:
            filters = yield from _filters(resource, name)
            found[name] = ObservedLogGroup(groups[0].get("retentionInDays"), groups[0].get("kmsKeyId"), filters)
    return found


def _filters(resource: str, group: str) -> Flow[dict[str, str]]:
    answer = yield from call(resource, "logs", "describe_metric_filters", _NO_GROUP, logGroupName=group)
    return {
        each["metricName"]: found.get("filterPattern", "")
        for found in (answer or {}).get("metricFilters", [])
        for each in found.get("metricTransformations", [])
        if each.get("metricNamespace") == NAMESPACE
    }


def _account(arn: str) -> str:
    return arn.split(":")[4]
