"""What an SQS broker is told: its URL, and the ``broker_transport_options`` that a Celery application brings along."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, unquote

from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured

_REGION: Final = re.compile(r"[a-z]{2,5}(-[a-z]+)+-\d+")

_TAKEN: Final = frozenset({"endpoint_url", "predefined_queues", "queue_name_prefix", "region"})

_WITHOUT_MEANING: Final = frozenset(
    {
        "client-config",
        "fetch_message_attributes",
        "interval_max",
        "interval_start",
        "interval_step",
        "is_secure",
        "max_retries",
        "polling_interval",
        "predefined_exchanges",
        "queue_tags",
        "sqs-creation-attributes",
        "sqs_base64_encoding",
        "supports_fanout",
        "visibility_timeout",
        "wait_time_seconds",
    }
)
"""kombu's options for what is done otherwise here, or not at all: leases follow the tasks' time limits, nothing is
created, and both encodings of a body are read."""

_CREDENTIALS: Final = frozenset(
    {"access_key_id", "secret_access_key", "sts_role_arn", "sts_token_buffer_time", "sts_token_timeout"}
)
"""Ignoring these would use other credentials than the user meant."""

_USE_THE_SDKS: Final = (
    "give them where every AWS SDK looks: the environment, a profile (role_arn in ~/.aws/config), or a role"
)


@dataclass(frozen=True, slots=True)
class SQSOptions:
    """Where the queues are.

    Args:
        region: None: the environment's.
        prefix: stands before every queue's name.
        queue_urls: name, with or without the prefix -> URL, of those that need no looking up.
        endpoint_url: None: AWS's, or what ``AWS_ENDPOINT_URL`` says.
    """

    region: str | None = None
    prefix: str = ""
    queue_urls: Mapping[str, str] = field(default_factory=dict)
    endpoint_url: str | None = None


def read_options(url: SplitResult, options: Mapping[str, Any]) -> SQSOptions:
    """Read ``sqs://region/prefix`` and Celery's options; what the URL says and an option says otherwise is an error.

    Args:
        url: the URL; region and prefix may be empty.
        options: ``broker_transport_options``: ``region``, ``queue_name_prefix``, ``endpoint_url`` and
            ``predefined_queues`` are taken, kombu's others are passed over, unknown ones are refused.

    Raises:
        ImproperlyConfigured: one of them is wrong; says which.
    """
    if "@" in url.netloc:
        raise ImproperlyConfigured(f"{shown(url)}: credentials don't belong into the URL: {_USE_THE_SDKS}")
    query_of(url)
    for name in options:
        if name in _CREDENTIALS:
            raise ImproperlyConfigured(f"broker_transport_options: {name} is not supported on SQS: {_USE_THE_SDKS}")
        if name not in _TAKEN | _WITHOUT_MEANING:
            raise ImproperlyConfigured(
                f"broker_transport_options: {name!r} is no option of SQS; known: {', '.join(sorted(_TAKEN))}"
            )
    region = _either("region", url.netloc, options.get("region") or "")
    if region and not _REGION.fullmatch(region):
        raise ImproperlyConfigured(
            f"{shown(url)}: {region!r} is no AWS region: write sqs://eu-west-1/prefix, or sqs:///prefix for the region"
            " of the environment; an endpoint of one's own is the option endpoint_url, or AWS_ENDPOINT_URL"
        )
    prefix = _either("queue_name_prefix", unquote(url.path).removeprefix("/"), options.get("queue_name_prefix") or "")
    return SQSOptions(
        region=region or None,
        prefix=prefix,
        queue_urls=_queue_urls(options.get("predefined_queues") or {}, region),
        endpoint_url=options.get("endpoint_url") or None,
    )


def _either(name: str, in_url: str, in_options: str) -> str:
    if in_url and in_options and in_url != in_options:
        raise ImproperlyConfigured(
            f"the broker's URL says {in_url!r}, and broker_transport_options[{name!r}] {in_options!r}: keep one of them"
        )
    return in_url or in_options


def _queue_urls(predefined: Mapping[str, Mapping[str, Any]], region: str) -> dict[str, str]:
    urls = {}
    for name, queue in predefined.items():
        where = f"broker_transport_options: predefined_queues[{name!r}]"
        if not queue.get("url"):
            raise ImproperlyConfigured(f"{where} has no url")
        credentials = sorted(_CREDENTIALS & queue.keys())
        if credentials:
            raise ImproperlyConfigured(f"{where}: {credentials[0]} is not supported: {_USE_THE_SDKS}")
        if queue.get("region") not in (None, region):
            raise ImproperlyConfigured(
                f"{where} is in {queue['region']}, the broker in {region or 'the default region'}: a broker has one"
                " region; name it in the URL, and serve other regions with an application of their own"
            )
        urls[name] = queue["url"]
    return urls
