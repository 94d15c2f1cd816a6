"""The doctor's judgements: each is a function of what is declared and what was observed, with no I/O.

A check yields its findings; ``CHECKS`` has them all, by the names of docs/doctor.md. A resource that is not there is
the one finding of its ``missing`` check, and nothing else is said of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from taskq_cloud.topology import wanted
from taskq_cloud.topology.build import LEAST_RECEIVES, USUAL_BATCH, VISIBILITY_PER_TIMEOUT
from taskq_cloud.topology.finding import Finding
from taskq_cloud.topology.model import Bucket, Function, Queue, Table, Topology
from taskq_cloud.topology.observed import Observed, ObservedBucket, ObservedFunction, ObservedQueue, ObservedTable
from taskq_cloud.topology.runtimes import MARGIN_SECONDS

Check: TypeAlias = Callable[[Topology, Observed], Iterator[Finding]]

LEAST_CONCURRENCY: Final = 2
"""Lambda Developer Guide, "services-sqs-scaling"."""

_PROVISION: Final = "apply Terraform, or run taskq provision"
_MAPPING: Final = "apply Terraform, or aws lambda update-event-source-mapping"


def findings(topology: Topology, observed: Observed) -> list[Finding]:
    """All findings: errors first, then by resource."""
    found = [finding for name, check in CHECKS.items() for finding in check(topology, observed)]
    return sorted(found, key=lambda each: (each.severity, each.resource, each.check))


# -- what there is of each kind, declared and observed


def _queues(topology: Topology, observed: Observed) -> Iterator[tuple[Queue, ObservedQueue]]:
    for queue in topology.queues:
        if queue.name in observed.queues:
            yield queue, observed.queues[queue.name]


def _both(topology: Topology, observed: Observed) -> Iterator[tuple[str, Queue, ObservedQueue]]:
    """Queues and their dead-letter queues, by their names."""
    for queue in topology.queues:
        for name in (queue.name, queue.dead_letter_queue.name):
            if name in observed.queues:
                yield name, queue, observed.queues[name]


def _functions(topology: Topology, observed: Observed) -> Iterator[tuple[Function, Queue, ObservedFunction]]:
    for function in topology.functions:
        if function.name in observed.functions:
            yield function, topology.queue_named(function.queue), observed.functions[function.name]


def _tables(topology: Topology, observed: Observed) -> Iterator[tuple[Table, ObservedTable]]:
    for table in topology.tables:
        if table.name in observed.tables:
            yield table, observed.tables[table.name]


def _buckets(topology: Topology, observed: Observed) -> Iterator[tuple[Bucket, ObservedBucket]]:
    for bucket in topology.buckets:
        if bucket.provider == "aws" and bucket.name in observed.buckets:
            yield bucket, observed.buckets[bucket.name]


# -- queues


def queue_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A queue that tasks go to."""
    for queue in topology.queues:
        if queue.name not in observed.queues:
            yield Finding(
                "queue.missing",
                f"queue {queue.name}",
                "error",
                "declared, and not there",
                f"calls of {', '.join(each.name for each in queue.tasks) or 'workflows'} raise QueueNotFound",
                _PROVISION,
            )


def dead_letter_queue_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """The queue of what can't be run."""
    for queue in topology.queues:
        dead = queue.dead_letter_queue.name
        if dead not in observed.queues:
            yield Finding(
                "queue.dead_letter_missing",
                f"queue {dead}",
                "error",
                f"the dead-letter queue of {queue.name} is not there",
                "what can't be run is given back for ever, until its retention ends and it is lost",
                _PROVISION,
            )


def visibility(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """AWS's rule of six timeouts, by the timeout that the function really has; for containers what is declared."""
    for queue, there in _queues(topology, observed):
        seconds = there.seconds("VisibilityTimeout")
        least, why = queue.visibility_timeout_seconds, "declared"
        for function, served, live in _functions(topology, observed):
            if served.queue == queue.queue:
                window = max((each.window_seconds for each in live.mappings), default=function.batching_window_seconds)
                least = VISIBILITY_PER_TIMEOUT * live.timeout_seconds + window
                why = f"{VISIBILITY_PER_TIMEOUT} times the timeout of {function.name}, with the batching window"
        if seconds < least:
            yield Finding(
                "queue.visibility",
                f"queue {queue.name}",
                "error",
                f"the visibility timeout is {seconds} s; at least {least} s are {why}",
                "a message is received again, and its task run twice, while the first run goes on",
                _PROVISION,
            )


def redrive_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A redrive policy, to the queue that workers dead-letter to."""
    for queue, there in _queues(topology, observed):
        target = _redrive(there).get("deadLetterTargetArn", "").rpartition(":")[2]
        if target != queue.dead_letter_queue.name:
            yield Finding(
                "queue.redrive",
                f"queue {queue.name}",
                "error",
                f"its redrive policy leads to {target or 'no queue'}, not to {queue.dead_letter_queue.name}",
                "a message that kills its worker comes back until its retention ends; redriving finds no source queue",
                _PROVISION,
            )


def receives(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """How often a message may be received."""
    for queue, there in _queues(topology, observed):
        count = int(_redrive(there).get("maxReceiveCount", 0))
        if count and count < queue.max_receive_count:
            yield Finding(
                "queue.max_receives",
                f"queue {queue.name}",
                "error",
                f"maxReceiveCount is {count}; {queue.max_receive_count} is declared, and AWS asks for {LEAST_RECEIVES}",
                "throttled invocations and deploys use receives up, and work that was never begun is dead-lettered",
                _PROVISION,
            )


def queue_type(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """FIFO or not, of a queue and its dead-letter queue."""
    for name, queue, there in _both(topology, observed):
        fifo = there.attributes.get("FifoQueue") == "true"
        if fifo is not queue.fifo:
            yield Finding(
                "queue.type",
                f"queue {name}",
                "error",
                f"it is {'a' if fifo else 'no'} FIFO queue; declared is {'one' if queue.fifo else 'none'}",
                "messages are refused for the message group that they lack, or keep no order",
                "create it anew under the declared name: the type of a queue can't be changed",
            )


def dead_letter_retention(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Dead letters keep the age that they had."""
    for queue, there in _queues(topology, observed):
        dead = observed.queues.get(queue.dead_letter_queue.name)
        if dead is None:
            continue
        own, of_dead = (each.seconds("MessageRetentionPeriod") for each in (there, dead))
        if of_dead <= own:
            yield Finding(
                "queue.dead_letter_retention",
                f"queue {queue.dead_letter_queue.name}",
                "error",
                f"it keeps messages for {of_dead} s, and {queue.name} for {own} s",
                "a dead letter keeps its age, so it may be gone before anyone has looked at it",
                _PROVISION,
            )


def retention(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """How long a message survives an outage."""
    for queue, there in _queues(topology, observed):
        seconds = there.seconds("MessageRetentionPeriod")
        if seconds < queue.message_retention_seconds:
            yield Finding(
                "queue.retention",
                f"queue {queue.name}",
                "error",
                f"messages are kept for {seconds} s; {queue.message_retention_seconds} s are declared",
                "an outage of the workers that lasts longer loses tasks without a trace",
                _PROVISION,
            )


def delay(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A delay of the queue's own."""
    for queue, there in _queues(topology, observed):
        seconds = there.seconds("DelaySeconds")
        if seconds:
            yield Finding(
                "queue.delay",
                f"queue {queue.name}",
                "warning",
                f"DelaySeconds is {seconds}",
                "every call without a countdown waits so long before it can be run",
                _PROVISION,
            )


def wait(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Long polling, for receives that name no wait."""
    for queue, there in _queues(topology, observed):
        if there.seconds("ReceiveMessageWaitTimeSeconds") == 0 and queue.receive_wait_time_seconds:
            yield Finding(
                "queue.wait",
                f"queue {queue.name}",
                "warning",
                "ReceiveMessageWaitTimeSeconds is 0",
                "receives that name no wait poll short: they miss messages that are there, and each is paid",
                _PROVISION,
            )


def queue_tls(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A policy against plain HTTP."""
    for name, _, there in _both(topology, observed):
        if not wanted.denies_without_tls(json.loads(there.attributes.get("Policy") or "{}")):
            yield Finding(
                "queue.tls",
                f"queue {name}",
                "error",
                "no policy denies what comes without TLS",
                "messages and credentials' signatures may travel in the clear",
                _PROVISION,
            )


def queue_encryption(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Encryption at rest, with the declared key."""
    for name, _, there in _both(topology, observed):
        key = there.attributes.get("KmsMasterKeyId")
        managed = there.attributes.get("SqsManagedSseEnabled") == "true"
        if (topology.kms_key_arn and key != topology.kms_key_arn) or not (key or managed):
            yield Finding(
                "queue.encryption",
                f"queue {name}",
                "error",
                f"it is encrypted with {key or ('SSE-SQS' if managed else 'nothing')}; declared is"
                f" {topology.kms_key_arn or 'SSE-SQS'}",
                "messages rest on disks unencrypted, or under a key that is not yours",
                _PROVISION,
            )


# -- functions


def function_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A function that serves a queue."""
    for function in topology.functions:
        if function.name not in observed.functions:
            yield Finding(
                "function.missing",
                f"function {function.name}",
                "error",
                "declared, and not there",
                f"messages of queue {function.queue!r} wait until their retention ends",
                "apply Terraform",
            )


def mapping_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """An event source mapping from the queue that a function serves."""
    for function, queue, live in _functions(topology, observed):
        if not live.mappings and queue.name in observed.queues:
            yield Finding(
                "mapping.missing",
                f"function {function.name}",
                "error",
                f"no event source mapping leads from queue {queue.name} to it",
                "its messages wait until their retention ends",
                "apply Terraform",
            )


def mapping_disabled(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A mapping that is turned off."""
    for function, queue, live in _functions(topology, observed):
        for each in live.mappings:
            if each.state in ("Disabled", "Disabling"):
                yield Finding(
                    "mapping.disabled",
                    f"function {function.name}",
                    "error",
                    f"the event source mapping {each.uuid} is {each.state.lower()}",
                    f"messages of queue {queue.name} wait until their retention ends",
                    f"{_MAPPING} --uuid {each.uuid} --enabled",
                )


def mapping_responses(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Partial batch responses."""
    for function, _, live in _functions(topology, observed):
        for each in live.mappings:
            if "ReportBatchItemFailures" not in each.response_types:
                yield Finding(
                    "mapping.partial_responses",
                    f"function {function.name}",
                    "error",
                    "FunctionResponseTypes lacks ReportBatchItemFailures",
                    "Lambda takes any answer for 'all done' and deletes what was given back: work is lost",
                    f"{_MAPPING} --uuid {each.uuid} --function-response-types ReportBatchItemFailures",
                )


def mapping_window(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Batches over ten."""
    for function, _, live in _functions(topology, observed):
        for each in live.mappings:
            if each.batch_size > USUAL_BATCH and each.window_seconds == 0:
                yield Finding(
                    "mapping.window",
                    f"function {function.name}",
                    "error",
                    f"a batch size of {each.batch_size} and no batching window",
                    "Lambda refuses the mapping, or ignores the size",
                    f"{_MAPPING} --uuid {each.uuid} --maximum-batching-window-in-seconds 1",
                )


def mapping_batch(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Batches larger than declared."""
    for function, _, live in _functions(topology, observed):
        for each in live.mappings:
            if each.batch_size > function.batch_size:
                yield Finding(
                    "mapping.batch_size",
                    f"function {function.name}",
                    "warning",
                    f"the batch size is {each.batch_size}; {function.batch_size} is declared",
                    "what doesn't fit into the function's time comes back unstarted, with a receive used up",
                    f"{_MAPPING} --uuid {each.uuid} --batch-size {function.batch_size}",
                )


def mapping_concurrency(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A limit of concurrency, of at least two."""
    for function, _, live in _functions(topology, observed):
        for each in live.mappings:
            most = each.maximum_concurrency
            if most is None or most < LEAST_CONCURRENCY:
                yield Finding(
                    "mapping.concurrency",
                    f"function {function.name}",
                    "warning",
                    f"MaximumConcurrency is {most}; {function.maximum_concurrency} is declared",
                    "a deep queue takes the account's whole concurrency, and other functions are throttled",
                    f"{_MAPPING} --uuid {each.uuid} --scaling-config MaximumConcurrency={function.maximum_concurrency}",
                )


def function_over_visibility(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A timeout that the queue's visibility doesn't cover."""
    for function, queue, live in _functions(topology, observed):
        there = observed.queues.get(queue.name)
        if there is not None and live.timeout_seconds > there.seconds("VisibilityTimeout"):
            yield Finding(
                "function.timeout_over_visibility",
                f"function {function.name}",
                "error",
                f"its timeout is {live.timeout_seconds} s, the queue's visibility timeout"
                f" {there.seconds('VisibilityTimeout')} s",
                "Lambda refuses the mapping, or runs a message again while it is being run",
                _PROVISION,
            )


def function_timeout(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A timeout that holds the longest task."""
    for function, queue, live in _functions(topology, observed):
        limits = [(each.time_limit_seconds or 0, each.name) for each in queue.tasks]
        limit, task = max(limits, default=(0, ""))
        if live.timeout_seconds < limit + MARGIN_SECONDS:
            yield Finding(
                "function.timeout",
                f"function {function.name}",
                "error",
                f"its timeout is {live.timeout_seconds} s; {task} may take {limit:g} s, and {MARGIN_SECONDS} s go to"
                " the answer",
                f"{task} is never begun, and dead-lettered in the end",
                f"set it to {function.timeout_seconds} s: apply Terraform",
            )


def function_memory(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Memory for the largest task."""
    for function, _, live in _functions(topology, observed):
        if live.memory_mb < function.memory_mb:
            yield Finding(
                "function.memory",
                f"function {function.name}",
                "error",
                f"it has {live.memory_mb} MiB; {function.memory_mb} are declared",
                "a task that needs them kills its process, and the whole batch comes back",
                "apply Terraform",
            )


def function_environment(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Variables that lead a function elsewhere."""
    for function, _, live in _functions(topology, observed):
        other = sorted(name for name, value in function.environment.items() if live.environment.get(name) != value)
        if other:
            yield Finding(
                "function.environment",
                f"function {function.name}",
                "error",
                f"other than declared: {', '.join(other)}",
                "it works with another broker, store or application than its callers",
                "apply Terraform",
            )


# -- stores and schedules


def table_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """The table of the results."""
    for table in topology.tables:
        if table.name not in observed.tables:
            yield Finding(
                "table.missing",
                f"table {table.name}",
                "error",
                "declared, and not there",
                "results can't be stored: every message is given back and run again",
                _PROVISION,
            )


def table_key(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """The key that records are found by."""
    for table, there in _tables(topology, observed):
        if dict(there.key_schema) != {table.hash_key: "HASH"} or there.attribute_types.get(table.hash_key) != "S":
            yield Finding(
                "table.key",
                f"table {table.name}",
                "error",
                f"its key is {dict(there.key_schema)}; declared is {table.hash_key}, a string",
                "DynamoDB refuses every read and write of a record",
                "name another table in TASKQ_RESULTS: a key can't be changed",
            )


def table_ttl(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Expiry of records."""
    for table, there in _tables(topology, observed):
        if there.ttl_attribute != table.ttl_attribute:
            yield Finding(
                "table.ttl",
                f"table {table.name}",
                "warning",
                f"items expire by {there.ttl_attribute or 'nothing'}; declared is {table.ttl_attribute}",
                "results are never removed: the table grows, and is paid, for ever",
                _PROVISION,
            )


def bucket_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A bucket of results or payloads."""
    for bucket in topology.buckets:
        if bucket.provider == "aws" and bucket.name not in observed.buckets:
            yield Finding(
                "bucket.missing",
                f"bucket {bucket.name}",
                "error",
                "declared, and not there",
                "large arguments and results raise StoreNotFound",
                _PROVISION,
            )


def bucket_lifecycle(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Rules that remove what has expired, and nothing sooner."""
    for bucket, there in _buckets(topology, observed):
        rules = wanted.lifecycle_rules(bucket, there.lifecycle_rules)
        if wanted.rules_in_short(rules) != wanted.rules_in_short(there.lifecycle_rules):
            listed = ", ".join(f"{rule.prefix}* after {rule.expire_days} d" for rule in bucket.lifecycle_rules)
            yield Finding(
                "bucket.lifecycle",
                f"bucket {bucket.name}",
                "error",
                f"its lifecycle rules are not as declared: {listed}",
                "objects are kept, and paid, for ever, or removed while messages still claim them",
                _PROVISION,
            )


def bucket_public(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Public access."""
    for bucket, there in _buckets(topology, observed):
        if dict(there.public_access_block) != wanted.PUBLIC_ACCESS_BLOCK:
            off = sorted(name for name in wanted.PUBLIC_ACCESS_BLOCK if not there.public_access_block.get(name))
            yield Finding(
                "bucket.public",
                f"bucket {bucket.name}",
                "error",
                f"not blocked: {', '.join(off)}",
                "an ACL or a policy can make arguments and results public",
                _PROVISION,
            )


def bucket_tls(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A policy against plain HTTP."""
    for bucket, there in _buckets(topology, observed):
        if not wanted.denies_without_tls(there.policy):
            yield Finding(
                "bucket.tls",
                f"bucket {bucket.name}",
                "error",
                "no policy denies what comes without TLS",
                "arguments and results may travel in the clear",
                _PROVISION,
            )


def schedule_group_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """The group of the schedules."""
    group = topology.schedule_group
    if group is not None and group.name not in observed.schedule_groups:
        yield Finding(
            "schedules.group",
            f"schedule group {group.name}",
            "error",
            "declared, and not there",
            "what is due late, and what is periodic, can't be scheduled",
            _PROVISION,
        )


def _redrive(there: ObservedQueue) -> dict[str, str]:
    found: dict[str, str] = json.loads(there.attributes.get("RedrivePolicy") or "{}")
    return found


CHECKS: Final[dict[str, Check]] = {
    "queue.missing": queue_missing,
    "queue.dead_letter_missing": dead_letter_queue_missing,
    "queue.visibility": visibility,
    "queue.redrive": redrive_missing,
    "queue.max_receives": receives,
    "queue.type": queue_type,
    "queue.dead_letter_retention": dead_letter_retention,
    "queue.retention": retention,
    "queue.delay": delay,
    "queue.wait": wait,
    "queue.tls": queue_tls,
    "queue.encryption": queue_encryption,
    "function.missing": function_missing,
    "function.timeout": function_timeout,
    "function.timeout_over_visibility": function_over_visibility,
    "function.memory": function_memory,
    "function.environment": function_environment,
    "mapping.missing": mapping_missing,
    "mapping.disabled": mapping_disabled,
    "mapping.partial_responses": mapping_responses,
    "mapping.window": mapping_window,
    "mapping.batch_size": mapping_batch,
    "mapping.concurrency": mapping_concurrency,
    "table.missing": table_missing,
    "table.key": table_key,
    "table.ttl": table_ttl,
    "bucket.missing": bucket_missing,
    "bucket.lifecycle": bucket_lifecycle,
    "bucket.public": bucket_public,
    "bucket.tls": bucket_tls,
    "schedules.group": schedule_group_missing,
}
