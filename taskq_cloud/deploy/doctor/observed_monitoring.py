"""The alarms and log groups of a deployment as CloudWatch and SNS describe them; a part of ``observed``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ObservedAlarm:
    """An alarm of CloudWatch.

    Args:
        arn: its ARN.
        fields: what it watches and when it is raised, by the name of the field in ``DescribeAlarms``.
        actions: the ARNs of what it tells when it is raised, such as topics.
        enabled: whether it tells anything; CloudWatch can turn the actions of an alarm off.
    """

    arn: str
    fields: Mapping[str, Any]
    actions: Sequence[str]
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class ObservedAlarmTopic:
    """A topic of SNS that alarms are published to.

    Args:
        arn: its ARN.
        exists: whether it exists; the fields below are empty otherwise.
        policy: its policy.
        kms_key: the key that encrypts it; None: it isn't encrypted.
        key_policy: the policy of that key, empty if the key is disabled or one that AWS manages; None: the key is of
            another account, or there is none.
        confirmed: the confirmed subscriptions.
    """

    arn: str
    exists: bool
    policy: Mapping[str, Any] | None = None
    kms_key: str | None = None
    key_policy: Mapping[str, Any] | None = None
    confirmed: int = 0


@dataclass(frozen=True, slots=True)
class ObservedLogGroup:
    """A log group of CloudWatch.

    Args:
        retention_days: how long it keeps logs; None: without end.
        kms_key: the ARN of the key that encrypts it; None: CloudWatch's own key.
        filters: name of a metric in the namespace ``taskq`` -> the pattern of the log lines that it counts.
    """

    retention_days: int | None
    kms_key: str | None
    filters: Mapping[str, str]
