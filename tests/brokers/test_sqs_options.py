"""Tests of how an SQS broker's URL, Celery's options and the names of queues are read."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from kombu.transport.SQS import Channel

from taskq_cloud.brokers._kombu_names import canonical_name
from taskq_cloud.brokers._sqs_options import SQSOptions
from taskq_cloud.brokers.sqs import SQSBroker
from taskq_cloud.errors import ImproperlyConfigured


@pytest.mark.parametrize("name", ["work", "a.b", "a.b.fifo", "a/b:c", "tenant@shop!x", "kebab-and_snake", "grüße.x"])
def test_queue_has_kombus_name(name: str) -> None:
    kombus: Any = Channel.entity_name  # the method doesn't use its channel
    assert canonical_name(name) == kombus(None, name)


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        ("sqs://eu-west-1/shop-", {}, SQSOptions(region="eu-west-1", prefix="shop-")),
        ("sqs://us-gov-west-1", {}, SQSOptions(region="us-gov-west-1")),
        ("sqs:///shop-", {}, SQSOptions(prefix="shop-")),
        ("sqs://", {"region": "eu-west-1", "queue_name_prefix": "shop-"}, SQSOptions("eu-west-1", "shop-")),
        ("sqs://eu-west-1", {"region": "eu-west-1"}, SQSOptions("eu-west-1")),
        (
            "sqs://",
            {
                "predefined_queues": {"work": {"url": "https://sqs/1/work", "backoff_tasks": ["a"]}},
                "endpoint_url": "http://127.0.0.1:4566",
                "visibility_timeout": 3600,
                "wait_time_seconds": 20,
                "polling_interval": 1,
            },
            SQSOptions(queue_urls={"work": "https://sqs/1/work"}, endpoint_url="http://127.0.0.1:4566"),
        ),
    ],
)
def test_url_and_celerys_options_are_read(url: str, options: dict[str, Any], expected: SQSOptions) -> None:
    assert SQSBroker.from_url(urlsplit(url), options)._options == expected


@pytest.mark.parametrize(
    ("url", "options", "text"),
    [
        ("sqs://shop-", {}, "'shop-' isn't an AWS region: write sqs://eu-west-1/prefix"),
        ("sqs://localhost:4566", {}, "endpoint_url"),
        ("sqs://key:secret@eu-west-1", {}, "credentials"),
        ("sqs://eu-west-1?x=1", {}, "'x'"),
        ("sqs://eu-west-1", {"region": "us-east-1"}, "keep one"),
        ("sqs://eu-west-1/a-", {"queue_name_prefix": "b-"}, "keep one"),
        ("sqs://", {"visibilty_timeout": 1}, "'visibilty_timeout' isn't an option of SQS"),
        ("sqs://", {"sts_role_arn": "arn"}, "sts_role_arn is not supported.*profile"),
        ("sqs://", {"predefined_queues": {"work": {}}}, r"predefined_queues\['work'\] has no url"),
        ("sqs://", {"predefined_queues": {"work": {"url": "u", "secret_access_key": "s"}}}, "secret_access_key"),
        ("sqs://eu-west-1", {"predefined_queues": {"work": {"url": "u", "region": "us-east-1"}}}, "one region"),
    ],
)
def test_wrong_url_or_option_is_named_in_the_error(url: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=text) as caught:
        SQSBroker.from_url(urlsplit(url), options)
    assert "secret@" not in str(caught.value)
