"""The settings of an SQS broker: its URL and the ``broker_transport_options``, which may be a Celery application's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import SplitResult, unquote

from taskq_cloud.core.lazy.values import dataclass, field
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured

_REGION: Final = re.compile(r"[a-z]{2,5}(-[a-z]+)+-\d+")

_KNOWN_OPTIONS: Final = frozenset({"endpoint_url", "predefined_queues", "queue_name_prefix", "region"})

_IGNORED_OPTIONS: Final = frozenset(
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
"""Options of kombu's that have no use here: leases follow the tasks' time limits, no queues are created, and both
encodings of a body are read."""

_CREDENTIAL_OPTIONS: Final = frozenset(
    {"access_key_id", "secret_access_key", "sts_role_arn", "sts_token_buffer_time", "sts_token_timeout"}
)
"""Options that are refused, because ignoring them would use other credentials than the user intended."""

_CREDENTIALS_HINT: Final = (
    "give them where every AWS SDK looks: the environment, a profile (role_arn in ~/.aws/config), or a role"
)


@dataclass(frozen=True, slots=True)
class SQSOptions:
    """The settings of an SQS broker.

    Args:
        region: the AWS region; None: the environment's.
        prefix: the text before a queue's name in SQS.
        queue_urls: a queue's name, with or without the prefix -> its URL, for queues whose URLs are not looked up.
        endpoint_url: the endpoint; None: the one in ``AWS_ENDPOINT_URL``, or else AWS's.
    """

    region: str | None = None
    prefix: str = ""
    queue_urls: Mapping[str, str] = field(default_factory=dict)
    endpoint_url: str | None = None


def read_options(url: SplitResult, options: Mapping[str, Any]) -> SQSOptions:
    """Read ``sqs://region/prefix`` and the transport options. A contradiction between the two is an error.

    Args:
        url: the URL; region and prefix may be empty.
        options: ``broker_transport_options``. ``region``, ``queue_name_prefix``, ``endpoint_url`` and
            ``predefined_queues`` are used, kombu's other options are ignored, and unknown options are errors.

    Raises:
        ImproperlyConfigured: the URL or an option is wrong; the error says which.
    """
    if url.username or url.password:
        raise ImproperlyConfigured(f"{shown(url)}: credentials don't belong in the URL: {_CREDENTIALS_HINT}")
    query_of(url)
    for name in options:
        if name in _CREDENTIAL_OPTIONS:
            raise ImproperlyConfigured(f"broker_transport_options: {name} is not supported on SQS: {_CREDENTIALS_HINT}")
        if name not in _KNOWN_OPTIONS | _IGNORED_OPTIONS:
            raise ImproperlyConfigured(
                f"broker_transport_options: {name!r} isn't an option of SQS; known: {', '.join(sorted(_KNOWN_OPTIONS))}"
            )
    region = _one_of("region", url.netloc.rpartition("@")[2], options.get("region") or "")
    if region and not _REGION.fullmatch(region):
        raise ImproperlyConfigured(
            f"{shown(url)}: {region!r} isn't an AWS region: write sqs://eu-west-1/prefix, or sqs:///prefix for the"
            " environment's region; set another endpoint with the option endpoint_url, or with AWS_ENDPOINT_URL"
        )
    prefix = _one_of("queue_name_prefix", unquote(url.path).removeprefix("/"), options.get("queue_name_prefix") or "")
    return SQSOptions(
        region=region or None,
        prefix=prefix,
        queue_urls=_queue_urls(options.get("predefined_queues") or {}, region),
        endpoint_url=options.get("endpoint_url") or None,
    )


def _one_of(name: str, url_value: str, option_value: str) -> str:
    if url_value and option_value and url_value != option_value:
        raise ImproperlyConfigured(
            f"the broker's URL has {url_value!r}, and broker_transport_options[{name!r}] is {option_value!r}: keep one"
            " of them"
        )
    return url_value or option_value


def _queue_urls(predefined: Mapping[str, Mapping[str, Any]], region: str) -> dict[str, str]:
    urls = {}
    for name, queue in predefined.items():
        where = f"broker_transport_options: predefined_queues[{name!r}]"
        if not queue.get("url"):
            raise ImproperlyConfigured(f"{where} has no url: add the queue's URL")
        credentials = sorted(_CREDENTIAL_OPTIONS & queue.keys())
        if credentials:
            raise ImproperlyConfigured(f"{where}: {credentials[0]} is not supported: {_CREDENTIALS_HINT}")
        if queue.get("region") not in (None, region):
            raise ImproperlyConfigured(
                f"{where} is in {queue['region']}, and the broker in {region or 'the default region'}: a broker has one"
                " region; name it in the URL, and use a separate application for another region"
            )
        urls[name] = queue["url"]
    return urls
