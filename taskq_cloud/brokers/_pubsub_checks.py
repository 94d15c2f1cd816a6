"""Checks of a queue's topic and subscription, made once: before the first receive, dead letter or schedule.

Without these checks messages could be lost silently: a topic without a subscription keeps no messages, and a
subscription of another topic delivers another application's messages. Without the permission to check, the settings are
trusted.
"""

from __future__ import annotations

import logging
from typing import Any

from taskq_cloud.brokers._pubsub_calls import QueueErrors
from taskq_cloud.core.flows import Call, CallError, Flow
from taskq_cloud.core.model.capabilities import is_ordered
from taskq_cloud.errors import ImproperlyConfigured, QueueNotFound

logger = logging.getLogger("taskq_cloud.brokers.pubsub")


def check_subscription(errors: QueueErrors) -> Flow[None]:
    """Check that a worker can receive a queue's messages from its subscription.

    Args:
        errors: names the queue and its subscription.

    Raises:
        QueueNotFound: the subscription doesn't exist.
        ImproperlyConfigured: the subscription belongs to another topic, is pushed, or doesn't keep the order that the
            queue needs.
    """
    name, extra = errors.location.subscription, {"queue": errors.queue, "action": "pubsub.subscription"}
    try:
        found = yield Call("subscriber", "get_subscription", {"request": {"subscription": name}})
    except CallError as error:
        if error.code != "PERMISSION_DENIED":
            raise errors.of_call(error) from error
        logger.info(
            "%s: subscription %s can't be checked without the permission pubsub.subscriptions.get; the settings are "
            "trusted",
            errors,
            name,
            extra=extra,
        )
        return
    problem = _problem(found, errors.location.topic, ordered=is_ordered(errors.queue))
    if problem:
        raise ImproperlyConfigured(f"{errors}: subscription {name} {problem}")
    if not found.dead_letter_policy.dead_letter_topic:
        logger.warning(
            "%s: subscription %s has no dead-letter policy, so Pub/Sub doesn't count receives, and a message that "
            "can't be run comes back until it expires: set one (--dead-letter-topic, --max-delivery-attempts)",
            errors,
            name,
            extra=extra,
        )
    if found.expiration_policy.ttl:
        logger.warning(
            "%s: subscription %s is deleted with its messages after %s without a receive: set it to never expire "
            "(--expiration-period never)",
            errors,
            name,
            found.expiration_policy.ttl,
            extra=extra,
        )


def check_topic(errors: QueueErrors) -> Flow[None]:
    """Check that a queue's topic exists and keeps messages.

    Args:
        errors: names the queue and its topic.

    Raises:
        QueueNotFound: the topic doesn't exist, or has no subscription.
    """
    topic = errors.location.topic
    try:
        found = yield Call("publisher", "list_topic_subscriptions", {"request": {"topic": topic, "page_size": 1}})
    except CallError as error:
        if error.code != "PERMISSION_DENIED":
            raise errors.of_call(error) from error
        return
    if not found.subscriptions:
        raise QueueNotFound(f"{errors.missing_subscription()}; without one, topic {topic} keeps no message")


def _problem(subscription: Any, topic: str, *, ordered: bool) -> str | None:
    """The reason why a worker can't use a subscription, as the end of a sentence; None if it can."""
    if subscription.topic == "_deleted-topic_":
        return f"has lost its topic, which was deleted: create {topic} and the subscription again"
    if subscription.topic != topic:
        return (
            f"is attached to {subscription.topic}, but the queue's messages are published to {topic}: create a "
            "subscription of that topic, or name both in broker_transport_options['predefined_queues']"
        )
    if subscription.push_config.push_endpoint:
        return f"is pushed to {subscription.push_config.push_endpoint}: a worker needs a pull subscription"
    if ordered and not subscription.enable_message_ordering:
        return "doesn't keep order, which a .fifo queue needs: create it with --enable-message-ordering"
    return None
