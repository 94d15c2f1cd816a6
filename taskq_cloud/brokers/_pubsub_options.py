"""The settings of a Pub/Sub broker: its URL and the ``broker_transport_options``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import SplitResult, unquote

from taskq_cloud.brokers._kombu_names import canonical_name
from taskq_cloud.core.lazy.values import dataclass, field
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured

_PROJECT: Final = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_NAME: Final = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}")
"""The names that topics and subscriptions may have (Pub/Sub documentation, "Guidelines to name a resource")."""

_CLOUD_TASKS_QUEUE: Final = re.compile(r"projects/[^/]+/locations/[^/]+/queues/[^/]+")

_KNOWN_OPTIONS: Final = frozenset(
    {"cloud_tasks_queue", "cloud_tasks_service_account", "endpoint", "predefined_queues", "queue_name_prefix"}
)

_IGNORED_OPTIONS: Final = frozenset(
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
"""Options of kombu's that have no use here: leases follow a setting, and no topics or subscriptions are created."""


@dataclass(frozen=True, slots=True)
class PubSubLocation:
    """The topic and the subscription of a queue.

    Args:
        topic: the full name of the topic that messages are published to: ``projects/.../topics/...``.
        subscription: the full name of the subscription that messages are received from.
    """

    topic: str
    subscription: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PubSubOptions:
    """The settings of a Pub/Sub broker.

    Args:
        project: the id of the Google Cloud project.
        prefix: the text before a queue's name in the names of its topic and its subscription.
        locations: queue -> its topic and subscription, for queues whose topic and subscription have other names.
        endpoint: a regional endpoint, ``europe-west1-pubsub.googleapis.com:443``; None: the global one.
        cloud_tasks_queue: the full name of the Cloud Tasks queue that holds back delayed messages; None: there is no
            such queue.
        cloud_tasks_service_account: the email of the account that Cloud Tasks publishes as.
    """

    project: str
    prefix: str = ""
    locations: Mapping[str, PubSubLocation] = field(default_factory=dict)
    endpoint: str | None = None
    cloud_tasks_queue: str | None = None
    cloud_tasks_service_account: str | None = None

    def location(self, queue: str) -> PubSubLocation:
        """The topic and the subscription of a queue.

        Raises:
            ImproperlyConfigured: Pub/Sub doesn't allow a topic of this name.
        """
        found = self.locations.get(queue) or self.locations.get(self.prefix + queue)
        if found is not None:
            return found
        name = canonical_name(self.prefix + queue)
        if not _NAME.fullmatch(name):
            raise ImproperlyConfigured(
                f"queue {queue!r}: {name!r} can't be the name of a topic: use 3 to 255 letters, digits and -_.~+%, "
                "beginning with a letter and not with goog"
            )
        return PubSubLocation(f"projects/{self.project}/topics/{name}", f"projects/{self.project}/subscriptions/{name}")

    def queue_named(self, subscription: str) -> str:
        """The name of the queue that a subscription belongs to.

        Args:
            subscription: the subscription's full name.

        Returns:
            The queue's name, without the prefix; for a subscription of another application, its short name.
        """
        for queue, location in self.locations.items():
            if location.subscription == subscription:
                return queue
        return subscription.rpartition("/")[2].removeprefix(canonical_name(self.prefix))


def read_options(url: SplitResult, options: Mapping[str, Any]) -> PubSubOptions:
    """Read ``pubsub://project/prefix`` and the transport options.

    Args:
        url: the URL; without a project in it, ``GOOGLE_CLOUD_PROJECT`` names the project.
        options: ``broker_transport_options``. ``queue_name_prefix``, ``predefined_queues``, ``endpoint``,
            ``cloud_tasks_queue`` and ``cloud_tasks_service_account`` are used, kombu's other options are ignored, and
            unknown options are errors.

    Raises:
        ImproperlyConfigured: the URL or an option is wrong; the error says which.
    """
    if "@" in url.netloc:
        raise ImproperlyConfigured(
            f"{shown(url)}: credentials don't belong in the URL: give them where Google's libraries look (a service "
            "account, GOOGLE_APPLICATION_CREDENTIALS, gcloud auth application-default login)"
        )
    query_of(url)
    unknown = sorted(options.keys() - _KNOWN_OPTIONS - _IGNORED_OPTIONS)
    if unknown:
        raise ImproperlyConfigured(
            f"broker_transport_options: {unknown[0]!r} isn't an option of Pub/Sub; known: "
            f"{', '.join(sorted(_KNOWN_OPTIONS))}"
        )
    project = url.netloc or os.environ.get("GOOGLE_CLOUD_PROJECT", "")
    if not _PROJECT.fullmatch(project):
        raise ImproperlyConfigured(
            f"{shown(url)}: {project!r} isn't the id of a Google Cloud project: write pubsub://my-project/prefix, or "
            "pubsub:///prefix with GOOGLE_CLOUD_PROJECT set"
        )
    url_prefix, option_prefix = unquote(url.path).removeprefix("/"), options.get("queue_name_prefix") or ""
    if url_prefix and option_prefix and url_prefix != option_prefix:
        raise ImproperlyConfigured(
            f"the broker's URL has the prefix {url_prefix!r}, and broker_transport_options['queue_name_prefix'] is "
            f"{option_prefix!r}: keep one of them"
        )
    queue, account = _cloud_tasks(options)
    return PubSubOptions(
        project=project,
        prefix=url_prefix or option_prefix,
        locations=_locations(options.get("predefined_queues") or {}, project),
        endpoint=options.get("endpoint") or None,
        cloud_tasks_queue=queue,
        cloud_tasks_service_account=account,
    )


def _locations(predefined: Mapping[str, Mapping[str, str]], project: str) -> dict[str, PubSubLocation]:
    locations = {}
    for name, queue in predefined.items():
        where = f"broker_transport_options: predefined_queues[{name!r}]"
        unknown = sorted(queue.keys() - {"topic", "subscription"})
        if unknown or not queue.get("topic"):
            raise ImproperlyConfigured(
                f"{where} has {f'an unknown {unknown[0]!r}' if unknown else 'no topic'}: write "
                "{'topic': ..., 'subscription': ...}, with short names or projects/.../..."
            )
        topic, subscription = queue["topic"], queue.get("subscription") or queue["topic"].rpartition("/")[2]
        locations[name] = PubSubLocation(
            _full_name("topics", topic, project), _full_name("subscriptions", subscription, project)
        )
    return locations


def _full_name(kind: str, name: str, project: str) -> str:
    return name if name.startswith("projects/") else f"projects/{project}/{kind}/{name}"


def _cloud_tasks(options: Mapping[str, Any]) -> tuple[str | None, str | None]:
    queue, account = options.get("cloud_tasks_queue"), options.get("cloud_tasks_service_account")
    if not queue and not account:
        return None, None
    if not queue or not account:
        raise ImproperlyConfigured(
            "broker_transport_options: cloud_tasks_queue and cloud_tasks_service_account go together: set both; "
            "Cloud Tasks publishes as the account, which needs roles/pubsub.publisher"
        )
    if not _CLOUD_TASKS_QUEUE.fullmatch(queue):
        raise ImproperlyConfigured(
            f"broker_transport_options: cloud_tasks_queue {queue!r} is not projects/.../locations/.../queues/...: "
            "write the queue's full name"
        )
    return queue, account
