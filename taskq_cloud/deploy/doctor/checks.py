"""The doctor's judgements: each is a function of what is declared and what was observed, with no I/O.

A check yields its findings; ``CHECKS`` has them all, by the names of docs/doctor.md. A resource that is not there is
the one finding of its ``missing`` check, and nothing else is said of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from taskq_cloud.deploy.doctor import (
    checks_function,
    checks_mapping,
    checks_queue,
    checks_role,
    checks_schedule,
    checks_service,
    checks_store,
)
from taskq_cloud.deploy.doctor.finding import Finding
from taskq_cloud.deploy.doctor.observed import Observed
from taskq_cloud.deploy.topology.model import Topology

Check: TypeAlias = Callable[[Topology, Observed], Iterator[Finding]]


CHECKS: Final[dict[str, Check]] = {
    "queue.missing": checks_queue.queue_missing,
    "queue.dead_letter_missing": checks_queue.dead_letter_queue_missing,
    "queue.visibility": checks_queue.visibility,
    "queue.redrive": checks_queue.redrive_missing,
    "queue.max_receives": checks_queue.receives,
    "queue.type": checks_queue.queue_type,
    "queue.dead_letter_retention": checks_queue.dead_letter_retention,
    "queue.retention": checks_queue.retention,
    "queue.delay": checks_queue.delay,
    "queue.wait": checks_queue.wait,
    "queue.tls": checks_queue.queue_tls,
    "queue.encryption": checks_queue.queue_encryption,
    "queue.deduplication": checks_queue.deduplication,
    "queue.redrive_allowed": checks_queue.redrive_allowed,
    "queue.public": checks_queue.queue_public,
    "function.missing": checks_function.function_missing,
    "function.timeout": checks_function.function_timeout,
    "function.timeout_over_visibility": checks_function.function_over_visibility,
    "function.memory": checks_function.function_memory,
    "function.environment": checks_function.function_environment,
    "function.role": checks_function.function_role,
    "function.concurrency": checks_function.function_concurrency,
    "mapping.missing": checks_mapping.mapping_missing,
    "mapping.disabled": checks_mapping.mapping_disabled,
    "mapping.partial_responses": checks_mapping.mapping_responses,
    "mapping.window": checks_mapping.mapping_window,
    "mapping.batch_size": checks_mapping.mapping_batch,
    "mapping.concurrency": checks_mapping.mapping_concurrency,
    "mapping.several": checks_mapping.mapping_several,
    "mapping.filter": checks_mapping.mapping_filter,
    "service.missing": checks_service.service_missing,
    "service.command": checks_service.service_command,
    "service.environment": checks_service.service_environment,
    "service.role": checks_service.service_role,
    "service.size": checks_service.service_size,
    "service.stop": checks_service.service_stop,
    "table.missing": checks_store.table_missing,
    "table.key": checks_store.table_key,
    "table.ttl": checks_store.table_ttl,
    "table.encryption": checks_store.table_encryption,
    "bucket.missing": checks_store.bucket_missing,
    "bucket.lifecycle": checks_store.bucket_lifecycle,
    "bucket.public": checks_store.bucket_public,
    "bucket.tls": checks_store.bucket_tls,
    "bucket.encryption": checks_store.bucket_encryption,
    "schedules.group": checks_schedule.group_missing,
    "schedules.dead_letter_missing": checks_schedule.dead_letter_queue_missing,
    "schedules.missing": checks_schedule.schedule_missing,
    "schedules.changed": checks_schedule.schedule_changed,
    "schedules.role": checks_schedule.schedule_role,
    "schedules.dead_letters": checks_schedule.schedule_dead_letters,
    "role.missing": checks_role.role_missing,
    "role.trust": checks_role.role_trust,
    "role.permission_missing": checks_role.permission_missing,
    "role.permission_unused": checks_role.permission_unused,
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
