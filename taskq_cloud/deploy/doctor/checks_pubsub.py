"""The doctor's checks of topics and subscriptions of Pub/Sub, and of jobs of Cloud Scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final, TypeAlias

from taskq_cloud.deploy.doctor.check import NOT_DEPLOYED, Check, at_least, equal, missing, require, unless
from taskq_cloud.deploy.doctor.matching import (
    DEAD_LETTER_SUBSCRIPTIONS,
    DEAD_LETTER_TOPICS,
    JOBS,
    SUBSCRIPTIONS,
    TOPICS,
    Pair,
)
from taskq_cloud.deploy.doctor.observed import Observed
from taskq_cloud.deploy.doctor.observed_google import ObservedJob, ObservedSubscription
from taskq_cloud.deploy.topology.model import SchedulerJob, Subscription, Topology

SubscriptionPair: TypeAlias = Pair[Subscription, ObservedSubscription]

_USABLE_STATES: Final = ("ENABLED", "PAUSED")
_KEPT: Final = "messages are kept for {} s; {} s are declared"
_ATTEMPTS: Final = "a message is a dead letter after {} deliveries; {} are declared"


def _both(topology: Topology, observed: Observed) -> Iterator[SubscriptionPair]:
    return chain(SUBSCRIPTIONS.deployed(topology, observed), DEAD_LETTER_SUBSCRIPTIONS.deployed(topology, observed))


def _topic_of(subscription: SubscriptionPair, topic: str) -> str | None:
    expected = subscription.topology.google_name("topics", topic)
    return equal(subscription.live.topic, expected, "it is attached to {}; {} is declared")


def _dead_letter_topic(subscription: SubscriptionPair) -> str | None:
    declared = subscription.topology.google_name("topics", subscription.declared.dead_letter_topic)
    return equal(subscription.live.dead_letter_topic or "nothing", declared, "its dead letters go to {}, not to {}")


def _enough_retention(subscription: SubscriptionPair) -> str | None:
    return at_least(subscription.live.retention_seconds, subscription.declared.message_retention_seconds, _KEPT)


def _retention_as_declared(subscription: SubscriptionPair) -> str | None:
    return equal(subscription.live.retention_seconds, subscription.declared.message_retention_seconds, _KEPT)


def _enough_attempts(subscription: SubscriptionPair) -> str | None:
    # Without a dead-letter policy nothing is counted, which is a finding of subscription.dead_letters.
    live, declared = subscription.live, subscription.declared.max_delivery_attempts
    return at_least(live.max_delivery_attempts, declared, _ATTEMPTS) if live.dead_letter_topic else None


def _attempts_as_declared(subscription: SubscriptionPair) -> str | None:
    live, declared = subscription.live, subscription.declared.max_delivery_attempts
    return equal(live.max_delivery_attempts, declared, _ATTEMPTS) if live.dead_letter_topic else None


def _same_job(job: Pair[SchedulerJob, ObservedJob]) -> str | None:
    declared = job.declared.model_dump(exclude={"name", "location", "description"})
    topics = {each.queue: each.topic for each in job.topology.subscriptions}
    declared["queue"] = job.topology.google_name("topics", topics[job.declared.queue])
    live = job.live.fields
    changed = [
        f"{name} is {live[name]!r}, {value!r} is declared" for name, value in declared.items() if live[name] != value
    ]
    return require(not changed, "; ".join(changed))


CHECKS: Final = (
    Check(
        "topic.missing",
        lambda topology, observed: chain(
            TOPICS.missing(topology, observed), DEAD_LETTER_TOPICS.missing(topology, observed)
        ),
        lambda _: NOT_DEPLOYED,
        "calls raise QueueNotFound, or messages that can't be run come back until they expire",
    ),
    Check(
        "topic.transforms",
        lambda topology, observed: chain(
            TOPICS.deployed(topology, observed), DEAD_LETTER_TOPICS.deployed(topology, observed)
        ),
        lambda topic: require(not topic.live, f"it has {', '.join(topic.live)}"),
        "messages are changed or left out: a signature doesn't fit any more, or a task is lost without a trace",
        "remove the message transforms from the topic",
    ),
    missing(
        "subscription.missing",
        SUBSCRIPTIONS,
        "the topic keeps no messages: tasks are lost without a trace",
    ),
    missing(
        "subscription.missing",
        DEAD_LETTER_SUBSCRIPTIONS,
        "the topic of the dead letters keeps none: messages that can't be run are lost without a trace",
    ),
    Check(
        "subscription.topic",
        SUBSCRIPTIONS.deployed,
        lambda subscription: _topic_of(subscription, subscription.declared.topic),
        "workers receive the messages of another topic, or none",
        "create the subscription again: its topic can't be changed",
    ),
    Check(
        "subscription.topic",
        DEAD_LETTER_SUBSCRIPTIONS.deployed,
        lambda subscription: _topic_of(subscription, subscription.declared.dead_letter_topic),
        "the topic of the dead letters keeps none: messages that can't be run are lost without a trace",
        "create the subscription again: its topic can't be changed",
    ),
    Check(
        "subscription.push",
        SUBSCRIPTIONS.deployed,
        lambda subscription: require(
            not subscription.live.push_endpoint, f"messages are pushed to {subscription.live.push_endpoint}"
        ),
        "workers refuse to start, because they can't pull from it",
    ),
    Check(
        "subscription.drops",
        _both,
        lambda subscription: require(not subscription.live.drops, f"it has {', '.join(subscription.live.drops)}"),
        "messages don't reach the workers, or are changed on the way there: tasks are lost without a trace",
        "create the subscription again without it",
    ),
    Check(
        "subscription.order",
        SUBSCRIPTIONS.deployed,
        lambda subscription: equal(
            subscription.live.ordered, subscription.declared.ordered, "message ordering is {}; {} is declared"
        ),
        "messages of a group lose their order, or wait for each other without a need",
        "create the subscription again: its ordering can't be changed",
    ),
    Check(
        "subscription.expires",
        _both,
        lambda subscription: require(
            not subscription.live.expires_after_seconds,
            f"it is deleted after {subscription.live.expires_after_seconds} s without a receive",
        ),
        "its messages are deleted with it, and later calls are lost without a trace",
    ),
    Check(
        "subscription.dead_letters",
        SUBSCRIPTIONS.deployed,
        _dead_letter_topic,
        "a message that kills its worker comes back until it expires, or is kept where nobody looks for it",
    ),
    Check(
        "subscription.max_attempts",
        SUBSCRIPTIONS.deployed,
        _enough_attempts,
        "delayed messages and deployments use up deliveries, and tasks are dead-lettered without having run",
    ),
    Check(
        "subscription.max_attempts",
        SUBSCRIPTIONS.deployed,
        unless(_enough_attempts, _attempts_as_declared),
        "a message that kills its worker does so more often than declared",
        severity="warning",
    ),
    Check(
        "subscription.retention",
        SUBSCRIPTIONS.deployed,
        _enough_retention,
        "if the workers are down for longer than that, tasks are lost without a trace",
    ),
    Check(
        "subscription.retention",
        SUBSCRIPTIONS.deployed,
        unless(_enough_retention, _retention_as_declared),
        "after a long failure, workers run tasks that should have expired",
        severity="warning",
    ),
    Check(
        "subscription.ack_deadline",
        SUBSCRIPTIONS.deployed,
        lambda subscription: equal(
            subscription.live.ack_deadline_seconds,
            subscription.declared.ack_deadline_seconds,
            "its acknowledgement deadline is {} s; {} s are declared",
        ),
        "a message comes back at another time than declared if its receiver dies before it sets a deadline of its own",
        severity="warning",
    ),
)

SCHEDULE_CHECKS: Final = (
    missing("jobs.missing", JOBS, lambda job: f"{job.declared.description or 'the periodic task'} is never called"),
    Check(
        "jobs.changed",
        JOBS.deployed,
        _same_job,
        "the task is called at other times, with other arguments, on another queue, or not at all",
    ),
    Check(
        "jobs.state",
        JOBS.deployed,
        lambda job: require(job.live.state in _USABLE_STATES, f"its state is {job.live.state}"),
        "Cloud Scheduler may not fire a job in this state",
        "apply Terraform, or pause and resume the job: gcloud scheduler jobs resume",
    ),
)
