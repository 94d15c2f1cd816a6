"""What a Pub/Sub broker is told: its URL, and the ``broker_transport_options``."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, unquote

from taskq_cloud.core.ports import is_ordered
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured

_PROJECT: Final = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_NAME: Final = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}")
"""Of a topic or a subscription (Pub/Sub documentation, "Guidelines to name a resource")."""
_CLOUD_TASKS_QUEUE: Final = re.compile(r"projects/[^/]+/locations/[^/]+/queues/[^/]+")

_TAKEN: Final = frozenset(
    {"cloud_tasks_queue", "cloud_tasks_service_account", "endpoint", "predefined_queues", "queue_name_prefix"}
)

_WITHOUT_MEANING: Final = frozenset(
    {
        "ack_deadline_seconds",
        "bulk_max_messages",
        "expiration_seconds",
        "max_retries",
        "polling_interval",
        "retry_timeout_seconds",
        "visibility_timeout",
        "wait_time_seconds",
    }
)
"""kombu's options for what is done otherwise here: leases follow a setting, and nothing is created."""

_CANONICAL: Final = {ord(sign): "_" for sign in string.punctuation if sign not in "-_."} | {ord("."): "-"}
"""What kombu puts for punctuation, so that both find the same topic."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a queue is: a topic to publish to, and the subscription to receive from, by their full names."""

    topic: str
    subscription: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PubSubOptions:
    """Where the queues are.

    Args:
        project: the id of the Google Cloud project.
        prefix: stands before every queue's name.
        places: queue -> where it is, of those that are not where their name says.
        endpoint: a regional endpoint, ``europe-west1-pubsub.googleapis.com:443``; None: the global one.
        cloud_tasks_queue: the full name of the Cloud Tasks queue that holds what is due later; None: nothing does.
        cloud_tasks_service_account: the email of the account in whose name Cloud Tasks publishes.
    """

    project: str
    prefix: str = ""
    places: Mapping[str, Place] = field(default_factory=dict)
    endpoint: str | None = None
    cloud_tasks_queue: str | None = None
    cloud_tasks_service_account: str | None = None

    def place(self, queue: str) -> Place:
        """Where a queue is.

        Raises:
            ImproperlyConfigured: Pub/Sub allows no such name.
        """
        found = self.places.get(queue) or self.places.get(self.prefix + queue)
        if found is not None:
            return found
        name = canonical_name(self.prefix + queue)
        if not _NAME.fullmatch(name):
            raise ImproperlyConfigured(
                f"queue {queue!r}: {name!r} can't be the name of a topic: that is 3 to 255 letters, digits and -_.~+%, "
                "begins with a letter and not with goog"
            )
        return Place(f"projects/{self.project}/topics/{name}", f"projects/{self.project}/subscriptions/{name}")

    def queue_named(self, subscription: str) -> str:
        """The queue that is received from a subscription; for one that is none of this broker's, its own short name."""
        for queue, place in self.places.items():
            if place.subscription == subscription:
                return queue
        return subscription.rpartition("/")[2].removeprefix(canonical_name(self.prefix))


def canonical_name(name: str) -> str:
    """A queue's name as kombu makes it: ``a.b/c.fifo`` becomes ``a-b_c.fifo``."""
    stem, suffix = (name.removesuffix(".fifo"), ".fifo") if is_ordered(name) else (name, "")
    return stem.translate(_CANONICAL) + suffix


def read_options(url: SplitResult, options: Mapping[str, Any]) -> PubSubOptions:
    """Read ``pubsub://project/prefix`` and the transport options.

    Args:
        url: the URL; without a project, that of ``GOOGLE_CLOUD_PROJECT``.
        options: ``broker_transport_options``: ``queue_name_prefix``, ``predefined_queues``, ``endpoint``,
            ``cloud_tasks_queue`` and ``cloud_tasks_service_account`` are taken, kombu's others are passed over,
            unknown ones are refused.

    Raises:
        ImproperlyConfigured: one of them is wrong; says which.
    """
    if "@" in url.netloc:
        raise ImproperlyConfigured(
            f"{shown(url)}: credentials don't belong into the URL: Google's libraries find them (a service account, "
            "GOOGLE_APPLICATION_CREDENTIALS, gcloud auth application-default login)"
        )
    query_of(url)
    unknown = sorted(options.keys() - _TAKEN - _WITHOUT_MEANING)
    if unknown:
        raise ImproperlyConfigured(
            f"broker_transport_options: {unknown[0]!r} is no option of Pub/Sub; known: {', '.join(sorted(_TAKEN))}"
        )
    project = url.netloc or os.environ.get("GOOGLE_CLOUD_PROJECT", "")
    if not _PROJECT.fullmatch(project):
        raise ImproperlyConfigured(
            f"{shown(url)}: {project!r} is no id of a Google Cloud project: write pubsub://my-project/prefix, or "
            "pubsub:///prefix with GOOGLE_CLOUD_PROJECT set"
        )
    in_url, in_options = unquote(url.path).removeprefix("/"), options.get("queue_name_prefix") or ""
    if in_url and in_options and in_url != in_options:
        raise ImproperlyConfigured(
            f"the broker's URL says {in_url!r}, and broker_transport_options['queue_name_prefix'] {in_options!r}: keep "
            "one of them"
        )
    queue, account = _cloud_tasks(options)
    return PubSubOptions(
        project=project,
        prefix=in_url or in_options,
        places=_places(options.get("predefined_queues") or {}, project),
        endpoint=options.get("endpoint") or None,
        cloud_tasks_queue=queue,
        cloud_tasks_service_account=account,
    )


def _places(predefined: Mapping[str, Mapping[str, str]], project: str) -> dict[str, Place]:
    places = {}
    for name, queue in predefined.items():
        where = f"broker_transport_options: predefined_queues[{name!r}]"
        unknown = sorted(queue.keys() - {"topic", "subscription"})
        if unknown or not queue.get("topic"):
            raise ImproperlyConfigured(
                f"{where} has {f'an unknown {unknown[0]!r}' if unknown else 'no topic'}: it is "
                "{'topic': ..., 'subscription': ...}, by their short names or projects/.../..."
            )
        topic, subscription = queue["topic"], queue.get("subscription") or queue["topic"].rpartition("/")[2]
        places[name] = Place(_full("topics", topic, project), _full("subscriptions", subscription, project))
    return places


def _full(kind: str, name: str, project: str) -> str:
    return name if name.startswith("projects/") else f"projects/{project}/{kind}/{name}"


def _cloud_tasks(options: Mapping[str, Any]) -> tuple[str | None, str | None]:
    queue, account = options.get("cloud_tasks_queue"), options.get("cloud_tasks_service_account")
    if not queue and not account:
        return None, None
    if not queue or not account:
        raise ImproperlyConfigured(
            "broker_transport_options: cloud_tasks_queue and cloud_tasks_service_account go together: Cloud Tasks "
            "publishes in the account's name, which needs roles/pubsub.publisher"
        )
    if not _CLOUD_TASKS_QUEUE.fullmatch(queue):
        raise ImproperlyConfigured(
            f"broker_transport_options: cloud_tasks_queue {queue!r} is not projects/.../locations/.../queues/..."
        )
    return queue, account
