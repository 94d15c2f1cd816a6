"""The doctor's checks of queues and dead-letter queues."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

from taskq_cloud.deploy import policy_documents
from taskq_cloud.deploy.doctor.check import Check, at_least, denies_without_tls, equal, missing, require, unless
from taskq_cloud.deploy.doctor.matching import DEAD_LETTER_QUEUES, FUNCTIONS, QUEUES, Pair, all_queues
from taskq_cloud.deploy.doctor.observed import Observed, ObservedQueue
from taskq_cloud.deploy.topology.build import LEAST_RECEIVES, VISIBILITY_PER_TIMEOUT
from taskq_cloud.deploy.topology.model import Queue, Topology


def _with_dead_letter_queues(topology: Topology, observed: Observed) -> Iterator[Pair[Queue, ObservedQueue]]:
    return chain(QUEUES.deployed(topology, observed), DEAD_LETTER_QUEUES.deployed(topology, observed))


def _visibility(queue: Pair[Queue, ObservedQueue]) -> str | None:
    """Apply AWS's rule to the timeout that the function really has; without a function, expect the declared value."""
    seconds = queue.live.seconds("VisibilityTimeout")
    least, reason = queue.declared.visibility_timeout_seconds, "the declared value"
    for function in FUNCTIONS.deployed(queue.topology, queue.observed):
        if function.declared.queue == queue.declared.queue:
            windows = [mapping.window_seconds for mapping in function.live.mappings]
            window = max(windows, default=function.declared.batching_window_seconds)
            least = VISIBILITY_PER_TIMEOUT * function.live.timeout_seconds + window
            reason = f"{VISIBILITY_PER_TIMEOUT} times the timeout of {function.declared.name}, plus its batching window"
    return require(
        seconds >= least, f"the visibility timeout is {seconds} s; it has to be at least {least} s: {reason}"
    )


def _max_receives(queue: Pair[Queue, ObservedQueue]) -> str | None:
    declared = queue.declared.max_receive_count
    # Without a redrive policy there is no count, which is a finding of queue.redrive.
    count = int(queue.live.document("RedrivePolicy").get("maxReceiveCount", 0)) or declared
    recommended = f"AWS recommends at least {LEAST_RECEIVES}"
    return at_least(count, declared, f"maxReceiveCount is {{}}; {{}} is declared, and {recommended}")


def _dead_letter_retention(dead: Pair[Queue, ObservedQueue]) -> str | None:
    source = dead.observed.queues.get(dead.declared.name)
    if source is None:
        return None
    longer, shorter = (each.seconds("MessageRetentionPeriod") for each in (dead.live, source))
    return require(longer > shorter, f"it keeps messages for {longer} s, and {dead.declared.name} for {shorter} s")


def _visibility_as_declared(queue: Pair[Queue, ObservedQueue]) -> str | None:
    live, declared = queue.live.seconds("VisibilityTimeout"), queue.declared.visibility_timeout_seconds
    return equal(live, declared, "the visibility timeout is {} s; {} s are declared")


def _receives_as_declared(queue: Pair[Queue, ObservedQueue]) -> str | None:
    count = queue.live.document("RedrivePolicy").get("maxReceiveCount")
    declared = queue.declared.max_receive_count
    return None if count is None else equal(int(count), declared, "maxReceiveCount is {}; {} is declared")


def _enough_retention(queue: Pair[Queue, ObservedQueue]) -> str | None:
    live, declared = queue.live.seconds("MessageRetentionPeriod"), queue.declared.message_retention_seconds
    return at_least(live, declared, _KEPT)


def _retention_as_declared(queue: Pair[Queue, ObservedQueue]) -> str | None:
    live, declared = queue.live.seconds("MessageRetentionPeriod"), queue.declared.message_retention_seconds
    return equal(live, declared, _KEPT)


def _dead_letters_as_declared(dead: Pair[Queue, ObservedQueue]) -> str | None:
    live, declared = dead.live.seconds("MessageRetentionPeriod"), dead.declared.dead_letter_queue
    return equal(live, declared.message_retention_seconds, _KEPT)


def _encryption(queue: Pair[object, ObservedQueue]) -> str | None:
    declared, live = queue.topology.kms_key_arn, queue.live.attributes.get("KmsMasterKeyId")
    if not live and queue.live.flag("SqsManagedSseEnabled"):
        live = "SSE-SQS"
    return equal(live or "nothing", declared or "SSE-SQS", "it is encrypted with {}; {} is declared")


def _long_polling(queue: Pair[Queue, ObservedQueue]) -> str | None:
    live, declared = queue.live.seconds("ReceiveMessageWaitTimeSeconds"), queue.declared.receive_wait_time_seconds
    return require(live > 0 or not declared, "ReceiveMessageWaitTimeSeconds is 0")


def _redrive_allowed(dead: Pair[Queue, ObservedQueue]) -> str | None:
    source, allow = dead.observed.queues.get(dead.declared.name), dead.live.document("RedriveAllowPolicy")
    if source is None:
        return None
    # A dead-letter queue without this policy accepts messages from every queue.
    permission = allow.get("redrivePermission", "allowAll")
    unlisted = permission == "byQueue" and source.arn not in allow.get("sourceQueueArns", ())
    return require(
        permission != "denyAll" and not unlisted,
        f"its RedriveAllowPolicy ({permission}) doesn't let {dead.declared.name} use it",
    )


_KEPT: Final = "messages are kept for {} s; {} s are declared"

CHECKS: Final = (
    missing(
        "queue.missing",
        QUEUES,
        lambda queue: (
            f"calls of {', '.join(each.name for each in queue.declared.tasks) or 'workflows'} raise QueueNotFound"
        ),
    ),
    Check(
        "queue.dead_letter_missing",
        DEAD_LETTER_QUEUES.missing,
        lambda dead: f"the dead-letter queue of {dead.declared.name} does not exist",
        "a message that can't be run is received again and again until its retention ends, and is then lost",
    ),
    Check(
        "queue.visibility",
        QUEUES.deployed,
        _visibility,
        "a message is received again, and its task run twice, while the first run is still going on",
    ),
    Check(
        "queue.visibility",
        QUEUES.deployed,
        unless(_visibility, _visibility_as_declared),
        "a message whose receiver has died comes back later than declared",
        severity="warning",
    ),
    Check(
        "queue.redrive",
        QUEUES.deployed,
        lambda queue: equal(
            queue.live.document("RedrivePolicy").get("deadLetterTargetArn", "").rpartition(":")[2] or "no queue",
            queue.declared.dead_letter_queue.name,
            "its redrive policy leads to {}, not to {}",
        ),
        "a message that kills its worker comes back until its retention ends; redriving finds no source queue",
    ),
    Check(
        "queue.max_receives",
        QUEUES.deployed,
        _max_receives,
        "throttled invocations and deployments use up receives, and tasks are dead-lettered without having run",
    ),
    Check(
        "queue.max_receives",
        QUEUES.deployed,
        unless(_max_receives, _receives_as_declared),
        "a message that kills its worker does so more often than declared",
        severity="warning",
    ),
    Check(
        "queue.type",
        _with_dead_letter_queues,
        lambda queue: require(
            queue.live.flag("FifoQueue") is queue.declared.fifo,
            f"it {'should' if queue.declared.fifo else 'should not'} be a FIFO queue",
        ),
        "messages are refused because they lack a message group, or they lose their order",
        "create the queue again under the declared name: the type of a queue can't be changed",
    ),
    Check(
        "queue.dead_letter_retention",
        DEAD_LETTER_QUEUES.deployed,
        _dead_letter_retention,
        "a dead letter keeps its age, so it may be deleted before anyone has looked at it",
    ),
    Check(
        "queue.dead_letter_retention",
        DEAD_LETTER_QUEUES.deployed,
        unless(_dead_letter_retention, _dead_letters_as_declared),
        "dead letters are deleted sooner than declared",
        severity="warning",
    ),
    Check(
        "queue.retention",
        QUEUES.deployed,
        _enough_retention,
        "if the workers are down for longer than that, tasks are lost without a trace",
    ),
    Check(
        "queue.retention",
        QUEUES.deployed,
        unless(_enough_retention, _retention_as_declared),
        "after a long failure, workers run tasks that should have expired",
        severity="warning",
    ),
    Check(
        "queue.delay",
        QUEUES.deployed,
        lambda queue: equal(queue.live.seconds("DelaySeconds"), 0, "DelaySeconds is {}; it should be {}"),
        "every call without a countdown waits that long before it can run",
        severity="warning",
    ),
    Check(
        "queue.wait",
        QUEUES.deployed,
        _long_polling,
        "receives without a wait time use short polling: they miss messages that are there, and each one is paid for",
        severity="warning",
    ),
    Check(
        "queue.wait",
        QUEUES.deployed,
        unless(
            _long_polling,
            lambda queue: equal(
                queue.live.seconds("ReceiveMessageWaitTimeSeconds"),
                queue.declared.receive_wait_time_seconds,
                "ReceiveMessageWaitTimeSeconds is {}; {} is declared",
            ),
        ),
        "receives without a wait time of their own are made, and paid for, more often",
        severity="warning",
    ),
    Check(
        "queue.encryption",
        all_queues,
        _encryption,
        "messages are stored unencrypted, or under a key that is not yours or that the declared roles may not use",
    ),
    Check(
        "queue.deduplication",
        QUEUES.deployed,
        lambda queue: require(
            queue.live.flag("ContentBasedDeduplication") or not (queue.declared.fifo and queue.live.flag("FifoQueue")),
            "ContentBasedDeduplication is off",
        ),
        "SQS refuses the messages of EventBridge Scheduler, which have no deduplication id: periodic tasks never run",
    ),
    Check(
        "queue.redrive_allowed",
        DEAD_LETTER_QUEUES.deployed,
        _redrive_allowed,
        "SQS can't move a message there that has used up its receives: it comes back until its retention ends",
    ),
    Check(
        "queue.public",
        all_queues,
        lambda queue: require(
            not policy_documents.allows_everyone(queue.live.document("Policy")),
            "its policy allows something to everyone, without a condition",
        ),
        "strangers can send tasks to your workers, or read and delete your messages",
        "remove that statement from the queue's policy",
    ),
    Check(
        "queue.senders",
        all_queues,
        lambda queue: require(
            not (services := policy_documents.services_of_every_account(queue.live.document("Policy"))),
            f"its policy lets {', '.join(services)} send for the resources of every account",
        ),
        "anyone can have that service send events to your workers, which run the tasks of task_event_routes",
        "limit the statement to the ARN of its source (aws:SourceArn): the input senders of the Terraform modules does",
    ),
)

TLS_CHECKS: Final = (
    Check(
        "queue.tls",
        all_queues,
        lambda queue: denies_without_tls(queue.live.document("Policy"), "sqs", [queue.live.arn]),
        "messages and request signatures can travel unencrypted",
    ),
)
