"""The doctor's judgements: each is a function of what is declared and what was observed, with no I/O.

A check yields its findings; ``CHECKS`` has them all, by the names of docs/doctor.md. A resource that is not there is
the one finding of its ``missing`` check, and nothing else is said of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from taskq_cloud.topology import (
    function_checks,
    mapping_checks,
    queue_checks,
    role_checks,
    schedule_checks,
    service_checks,
    store_checks,
)
from taskq_cloud.topology.finding import Finding
from taskq_cloud.topology.model import Topology
from taskq_cloud.topology.observed import Observed

Check: TypeAlias = Callable[[Topology, Observed], Iterator[Finding]]


CHECKS: Final[dict[str, Check]] = {
    "queue.missing": queue_checks.queue_missing,
    "queue.dead_letter_missing": queue_checks.dead_letter_queue_missing,
    "queue.visibility": queue_checks.visibility,
    "queue.redrive": queue_checks.redrive_missing,
    "queue.max_receives": queue_checks.receives,
    "queue.type": queue_checks.queue_type,
    "queue.dead_letter_retention": queue_checks.dead_letter_retention,
    "queue.retention": queue_checks.retention,
    "queue.delay": queue_checks.delay,
    "queue.wait": queue_checks.wait,
    "queue.tls": queue_checks.queue_tls,
    "queue.encryption": queue_checks.queue_encryption,
    "queue.deduplication": queue_checks.deduplication,
    "queue.redrive_allowed": queue_checks.redrive_allowed,
    "queue.public": queue_checks.queue_public,
    "function.missing": function_checks.function_missing,
    "function.timeout": function_checks.function_timeout,
    "function.timeout_over_visibility": function_checks.function_over_visibility,
    "function.memory": function_checks.function_memory,
    "function.environment": function_checks.function_environment,
    "function.role": function_checks.function_role,
    "function.concurrency": function_checks.function_concurrency,
    "mapping.missing": mapping_checks.mapping_missing,
    "mapping.disabled": mapping_checks.mapping_disabled,
    "mapping.partial_responses": mapping_checks.mapping_responses,
    "mapping.window": mapping_checks.mapping_window,
    "mapping.batch_size": mapping_checks.mapping_batch,
    "mapping.concurrency": mapping_checks.mapping_concurrency,
    "mapping.several": mapping_checks.mapping_several,
    "mapping.filter": mapping_checks.mapping_filter,
    "service.missing": service_checks.service_missing,
    "service.command": service_checks.service_command,
    "service.environment": service_checks.service_environment,
    "service.role": service_checks.service_role,
    "service.size": service_checks.service_size,
    "service.stop": service_checks.service_stop,
    "table.missing": store_checks.table_missing,
    "table.key": store_checks.table_key,
    "table.ttl": store_checks.table_ttl,
    "table.encryption": store_checks.table_encryption,
    "bucket.missing": store_checks.bucket_missing,
    "bucket.lifecycle": store_checks.bucket_lifecycle,
    "bucket.public": store_checks.bucket_public,
    "bucket.tls": store_checks.bucket_tls,
    "bucket.encryption": store_checks.bucket_encryption,
    "schedules.group": schedule_checks.group_missing,
    "schedules.dead_letter_missing": schedule_checks.dead_letter_queue_missing,
    "schedules.missing": schedule_checks.schedule_missing,
    "schedules.changed": schedule_checks.schedule_changed,
    "schedules.role": schedule_checks.schedule_role,
    "schedules.dead_letters": schedule_checks.schedule_dead_letters,
    "role.missing": role_checks.role_missing,
    "role.trust": role_checks.role_trust,
    "role.permission_missing": role_checks.permission_missing,
    "role.permission_unused": role_checks.permission_unused,
}

_AREAS: Final = {
    "queue": "queues",
    "function": "functions",
    "mapping": "functions",
    "service": "services",
    "table": "stores",
    "bucket": "stores",
    "schedules": "schedules",
    "role": "roles",
}
"""What a check's name begins with -> the area that it is of."""


def findings(topology: Topology, observed: Observed) -> list[Finding]:
    """All findings: errors first, then by resource; none of an area that was skipped."""
    checks = [check for name, check in CHECKS.items() if _AREAS[name.partition(".")[0]] not in observed.skipped]
    found = [finding for check in checks for finding in check(topology, observed)]
    return sorted(found, key=lambda each: (each.severity, each.resource, each.check))
