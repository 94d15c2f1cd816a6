"""Runs the doctor's checks: compares a declared topology with its observed deployment.

A resource that is missing yields one finding, that of its ``missing`` check, and no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.deploy.doctor import (
    checks_access,
    checks_alarm,
    checks_function,
    checks_logs,
    checks_mapping,
    checks_pubsub,
    checks_queue,
    checks_role,
    checks_schedule,
    checks_server,
    checks_service,
    checks_store,
    checks_undeclared,
    checks_worker_pool,
)
from taskq_cloud.deploy.doctor.check import Check
from taskq_cloud.deploy.doctor.finding import Finding
from taskq_cloud.deploy.doctor.observed import Observed
from taskq_cloud.deploy.topology.model import Topology

_AREAS: Final[Mapping[str, tuple[Check[Any], ...]]] = {
    "queues": (*checks_queue.CHECKS, *checks_pubsub.CHECKS),
    "servers": checks_server.CHECKS,
    "undeclared": checks_undeclared.CHECKS,
    "functions": (*checks_function.CHECKS, *checks_mapping.CHECKS),
    "services": (*checks_service.CHECKS, *checks_worker_pool.CHECKS),
    "scaling": checks_service.SCALING_CHECKS,
    "alarms": checks_alarm.CHECKS,
    "logs": checks_logs.CHECKS,
    "stores": checks_store.CHECKS,
    "schedules": (*checks_schedule.CHECKS, *checks_pubsub.SCHEDULE_CHECKS),
    "roles": (*checks_role.CHECKS, *checks_access.CHECKS),
    "tls": (*checks_queue.TLS_CHECKS, *checks_store.TLS_CHECKS),
}
"""The checks of each area that ``taskq doctor --skip`` can leave out; queues can't be left out."""

CHECKS: Final = tuple(check for checks in _AREAS.values() for check in checks)
"""All checks, in the order of docs/doctor.md."""


def findings(topology: Topology, observed: Observed) -> list[Finding]:
    """Run all checks of the areas that were observed.

    Returns:
        The findings: errors first, then by resource and by the check's name.
    """
    found = [
        finding
        for area, checks in _AREAS.items()
        if area not in observed.skipped
        for check in checks
        for finding in check.run(topology, observed)
    ]
    return sorted(found, key=lambda each: (each.severity, each.resource, each.check))
