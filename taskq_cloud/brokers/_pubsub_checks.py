"""What is looked at once, before a queue is received from, a dead letter sent to it, or schedules are made for it.

Pub/Sub loses messages without a word: a topic without a subscription keeps nothing, and a subscription of another topic
hands over somebody else's messages. Where the permission to look is missing, what settings say is trusted.
"""

from __future__ import annotations

import logging
from typing import Any

from taskq_cloud.brokers._pubsub_calls import Where
from taskq_cloud.core.flows import Call, CallError, Flow
from taskq_cloud.core.ports import is_ordered
from taskq_cloud.errors import ImproperlyConfigured, QueueNotFound

logger = logging.getLogger("taskq_cloud.brokers.pubsub")


def look_at(where: Where) -> Flow[None]:
    """See that a queue's subscription is as it must be.

    Raises:
        QueueNotFound: there is none.
        ImproperlyConfigured: it is not this queue's, or can't be pulled from.
    """
    name, extra = where.place.subscription, {"queue": where.queue, "action": "pubsub.subscription"}
    try:
        found = yield Call("subscriber", "get_subscription", {"request": {"subscription": name}})
    except CallError as error:
        if error.code != "PERMISSION_DENIED":
            raise where.explain(error) from error
        logger.info("%s: %s can't be looked at, and is trusted", where, name, extra=extra)
        return
    problem = _problem(found, where.place.topic, ordered=is_ordered(where.queue))
    if problem:
        raise ImproperlyConfigured(f"{where}: subscription {name} {problem}")
    if not found.dead_letter_policy.dead_letter_topic:
        logger.warning(
            "%s: %s has no dead-letter policy, so receives are not counted: what can't be run comes back until it "
            "expires. Set one (--dead-letter-topic, --max-delivery-attempts)",
            where,
            name,
            extra=extra,
        )
    if found.expiration_policy.ttl:
        logger.warning(
            "%s: %s is deleted, messages and all, when nobody receives from it for %s: set --expiration-period never",
            where,
            name,
            found.expiration_policy.ttl,
            extra=extra,
        )


def look_at_topic(where: Where) -> Flow[None]:
    """See that what is published to a queue's topic is kept.

    Raises:
        QueueNotFound: there is no such topic, or it has no subscription.
    """
    topic = where.place.topic
    try:
        found = yield Call("publisher", "list_topic_subscriptions", {"request": {"topic": topic, "page_size": 1}})
    except CallError as error:
        if error.code != "PERMISSION_DENIED":
            raise where.explain(error) from error
        return
    if not found.subscriptions:
        raise QueueNotFound(f"{where.missing_subscription()}; without one, topic {topic} keeps no message")


def _problem(subscription: Any, topic: str, *, ordered: bool) -> str | None:
    """What is wrong with a subscription, as the end of a sentence."""
    if subscription.topic == "_deleted-topic_":
        return f"has lost its topic, which was deleted: create {topic} and the subscription anew"
    if subscription.topic != topic:
        return (
            f"is attached to {subscription.topic}, but the queue's messages are published to {topic}: attach another "
            "one to that, or name both in broker_transport_options['predefined_queues']"
        )
    if subscription.push_config.push_endpoint:
        return f"is pushed to {subscription.push_config.push_endpoint}: a worker needs one that is pulled"
    if ordered and not subscription.enable_message_ordering:
        return "keeps no order, as a .fifo queue must: create it with --enable-message-ordering"
    return None
