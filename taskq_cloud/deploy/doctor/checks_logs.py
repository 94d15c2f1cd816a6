"""The doctor's checks of the log groups of functions and services."""

from __future__ import annotations

from typing import Final

from taskq_cloud.deploy.doctor.check import NOT_YOUR_KEY, Check, require
from taskq_cloud.deploy.doctor.matching import FUNCTIONS, Pair, log_groups
from taskq_cloud.deploy.doctor.observed_monitoring import ObservedLogGroup
from taskq_cloud.deploy.topology.model import Function, Service


def _own_key(group: Pair[Function | Service, ObservedLogGroup | None]) -> str | None:
    """Expect a key of the user's if one is declared; Terraform's ``log_kms_key_arn`` may give the logs another one."""
    key = group.topology.kms_key_arn
    return require(
        group.live is None or key is None or group.live.kms_key is not None,
        f"it is encrypted with a key of the service itself; {key} is declared",
    )


CHECKS: Final = (
    Check(
        "logs.missing",
        log_groups,
        lambda group: require(group.live is not None, "it does not exist"),
        "the logs of its tasks are lost, their failures are not counted, and containers don't start",
    ),
    Check(
        "logs.retention",
        log_groups,
        lambda group: require(
            group.live is None or group.live.retention_days is not None, "it keeps its logs without end"
        ),
        "the logs grow without end, and so does their price",
        severity="warning",
    ),
    Check("logs.encryption", log_groups, _own_key, NOT_YOUR_KEY),
    Check(
        "logs.format",
        FUNCTIONS.deployed,
        lambda function: require(
            function.live.log_format == "JSON", f"its log format is {function.live.log_format}; JSON is expected"
        ),
        "log lines have no fields to search by, and the alarm on failed tasks is never raised",
        "apply Terraform, or aws lambda update-function-configuration --logging-config LogFormat=JSON",
        severity="warning",
    ),
)
