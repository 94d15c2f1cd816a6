"""The doctor's judgements: each is a function of what is declared and what was observed, with no I/O.

A check yields its findings; ``CHECKS`` has them all, by the names of docs/doctor.md. A resource that is not there is
the one finding of its ``missing`` check, and nothing else is said of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from taskq_cloud.topology import function_checks, queue_checks, store_checks
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
    "function.missing": function_checks.function_missing,
    "function.timeout": function_checks.function_timeout,
    "function.timeout_over_visibility": function_checks.function_over_visibility,
    "function.memory": function_checks.function_memory,
    "function.environment": function_checks.function_environment,
    "mapping.missing": function_checks.mapping_missing,
    "mapping.disabled": function_checks.mapping_disabled,
    "mapping.partial_responses": function_checks.mapping_responses,
    "mapping.window": function_checks.mapping_window,
    "mapping.batch_size": function_checks.mapping_batch,
    "mapping.concurrency": function_checks.mapping_concurrency,
    "table.missing": store_checks.table_missing,
    "table.key": store_checks.table_key,
    "table.ttl": store_checks.table_ttl,
    "bucket.missing": store_checks.bucket_missing,
    "bucket.lifecycle": store_checks.bucket_lifecycle,
    "bucket.public": store_checks.bucket_public,
    "bucket.tls": store_checks.bucket_tls,
    "schedules.group": store_checks.schedule_group_missing,
}


def findings(topology: Topology, observed: Observed) -> list[Finding]:
    """All findings: errors first, then by resource."""
    found = [finding for name, check in CHECKS.items() for finding in check(topology, observed)]
    return sorted(found, key=lambda each: (each.severity, each.resource, each.check))
