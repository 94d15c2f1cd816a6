"""The doctor's checks of queues and dead-letter queues."""

from __future__ import annotations

import json
from collections.abc import Iterator

from taskq_cloud.deploy import aws_settings
from taskq_cloud.deploy.doctor.finding import Finding
from taskq_cloud.deploy.doctor.matching import PROVISION, all_of, both_of, functions_of, queues_of
from taskq_cloud.deploy.doctor.observed import Observed, ObservedQueue
from taskq_cloud.deploy.topology.build import LEAST_RECEIVES, VISIBILITY_PER_TIMEOUT
from taskq_cloud.deploy.topology.model import Topology


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
                PROVISION,
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
                PROVISION,
            )


def visibility(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """AWS's rule of six timeouts, by the timeout that the function really has; for containers what is declared."""
    for queue, there in queues_of(topology, observed):
        seconds = there.seconds("VisibilityTimeout")
        least, why = queue.visibility_timeout_seconds, "declared"
        for function, served, live in functions_of(topology, observed):
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
                PROVISION,
            )


def redrive_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A redrive policy, to the queue that workers dead-letter to."""
    for queue, there in queues_of(topology, observed):
        target = _redrive(there).get("deadLetterTargetArn", "").rpartition(":")[2]
        if target != queue.dead_letter_queue.name:
            yield Finding(
                "queue.redrive",
                f"queue {queue.name}",
                "error",
                f"its redrive policy leads to {target or 'no queue'}, not to {queue.dead_letter_queue.name}",
                "a message that kills its worker comes back until its retention ends; redriving finds no source queue",
                PROVISION,
            )


def receives(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """How often a message may be received."""
    for queue, there in queues_of(topology, observed):
        count = int(_redrive(there).get("maxReceiveCount", 0))
        if count and count < queue.max_receive_count:
            yield Finding(
                "queue.max_receives",
                f"queue {queue.name}",
                "error",
                f"maxReceiveCount is {count}; {queue.max_receive_count} is declared, and AWS asks for {LEAST_RECEIVES}",
                "throttled invocations and deploys use receives up, and work that was never begun is dead-lettered",
                PROVISION,
            )


def queue_type(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """FIFO or not, of a queue and its dead-letter queue."""
    for name, queue, there in both_of(topology, observed):
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
    for queue, there in queues_of(topology, observed):
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
                PROVISION,
            )


def retention(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """How long a message survives an outage."""
    for queue, there in queues_of(topology, observed):
        seconds = there.seconds("MessageRetentionPeriod")
        if seconds < queue.message_retention_seconds:
            yield Finding(
                "queue.retention",
                f"queue {queue.name}",
                "error",
                f"messages are kept for {seconds} s; {queue.message_retention_seconds} s are declared",
                "an outage of the workers that lasts longer loses tasks without a trace",
                PROVISION,
            )


def delay(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A delay of the queue's own."""
    for queue, there in queues_of(topology, observed):
        seconds = there.seconds("DelaySeconds")
        if seconds:
            yield Finding(
                "queue.delay",
                f"queue {queue.name}",
                "warning",
                f"DelaySeconds is {seconds}",
                "every call without a countdown waits so long before it can be run",
                PROVISION,
            )


def wait(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Long polling, for receives that name no wait."""
    for queue, there in queues_of(topology, observed):
        if there.seconds("ReceiveMessageWaitTimeSeconds") == 0 and queue.receive_wait_time_seconds:
            yield Finding(
                "queue.wait",
                f"queue {queue.name}",
                "warning",
                "ReceiveMessageWaitTimeSeconds is 0",
                "receives that name no wait poll short: they miss messages that are there, and each is paid",
                PROVISION,
            )


def queue_tls(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A policy against plain HTTP."""
    for name, there in all_of(topology, observed):
        if not aws_settings.denies_without_tls(json.loads(there.attributes.get("Policy") or "{}")):
            yield Finding(
                "queue.tls",
                f"queue {name}",
                "error",
                "no policy denies what comes without TLS",
                "messages and credentials' signatures may travel in the clear",
                PROVISION,
            )


def queue_encryption(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Encryption at rest, with the declared key."""
    for name, there in all_of(topology, observed):
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
                PROVISION,
            )


def deduplication(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """What a schedule sends to a FIFO queue has no deduplication id."""
    for queue, there in queues_of(topology, observed):
        by_content = there.attributes.get("ContentBasedDeduplication") == "true"
        if queue.fifo and there.attributes.get("FifoQueue") == "true" and not by_content:
            yield Finding(
                "queue.deduplication",
                f"queue {queue.name}",
                "error",
                "ContentBasedDeduplication is off",
                "SQS refuses what EventBridge Scheduler sends, which has no deduplication id: periodic tasks never run",
                PROVISION,
            )


def redrive_allowed(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Which queues a dead-letter queue takes messages from; all, where it says nothing."""
    for queue, there in queues_of(topology, observed):
        dead = observed.queues.get(queue.dead_letter_queue.name)
        allow = json.loads((dead.attributes.get("RedriveAllowPolicy") if dead else None) or "{}")
        permission = allow.get("redrivePermission", "allowAll")
        if permission == "denyAll" or (permission == "byQueue" and there.arn not in allow.get("sourceQueueArns", ())):
            yield Finding(
                "queue.redrive_allowed",
                f"queue {queue.dead_letter_queue.name}",
                "error",
                f"its RedriveAllowPolicy ({permission}) doesn't let {queue.name} use it",
                "SQS moves no message there that has used its receives up: it comes back until its retention ends",
                PROVISION,
            )


def queue_public(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A policy that lets everyone in."""
    for name, there in all_of(topology, observed):
        if aws_settings.allows_everyone(json.loads(there.attributes.get("Policy") or "{}")):
            yield Finding(
                "queue.public",
                f"queue {name}",
                "error",
                "its policy allows something to everyone, on no condition",
                "strangers can send tasks to your workers, or read and delete your messages",
                "take the statement out of the queue's policy",
            )


def _redrive(there: ObservedQueue) -> dict[str, str]:
    found: dict[str, str] = json.loads(there.attributes.get("RedrivePolicy") or "{}")
    return found
