"""Tests of how a Pub/Sub broker's URL and transport options are read."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from taskq_cloud.brokers._kombu_names import canonical_name
from taskq_cloud.brokers._pubsub_options import PubSubLocation, PubSubOptions, read_options
from taskq_cloud.brokers.pubsub import PubSubBroker
from taskq_cloud.brokers.registry import broker_from_url
from taskq_cloud.errors import ImproperlyConfigured

TASKS = {
    "cloud_tasks_queue": "projects/my-project/locations/europe-west1/queues/later",
    "cloud_tasks_service_account": "later@my-project.iam.gserviceaccount.com",
}


def read(url: str, **options: Any) -> PubSubOptions:
    return read_options(urlsplit(url), options)


def test_url_gives_project_and_prefix() -> None:
    assert read("pubsub://my-project/shop-") == PubSubOptions(project="my-project", prefix="shop-")
    assert read("pubsub://my-project") == PubSubOptions(project="my-project")
    assert isinstance(broker_from_url("pubsub://my-project/shop-", {}), PubSubBroker)


def test_url_without_project_takes_it_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "environments-project")
    assert read("pubsub:///shop-") == PubSubOptions(project="environments-project", prefix="shop-")


def test_known_options_are_read_and_kombus_others_are_ignored() -> None:
    options = read(
        "pubsub://my-project",
        queue_name_prefix="shop-",
        endpoint="europe-west1-pubsub.googleapis.com:443",
        predefined_queues={
            "work": {"topic": "orders"},
            "mail": {"topic": "projects/other/topics/m", "subscription": "s"},
        },
        ack_deadline_seconds=240,
        **TASKS,
    )
    assert options == PubSubOptions(
        project="my-project",
        prefix="shop-",
        endpoint="europe-west1-pubsub.googleapis.com:443",
        locations={
            "work": PubSubLocation("projects/my-project/topics/orders", "projects/my-project/subscriptions/orders"),
            "mail": PubSubLocation("projects/other/topics/m", "projects/my-project/subscriptions/s"),
        },
        **TASKS,
    )


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        ("pubsub://My_Project", {}, "'My_Project' isn't the id of a Google Cloud project"),
        ("pubsub://key:secret@my-project", {}, "credentials don't belong in the URL"),
        ("pubsub://my-project?x=1", {}, "unknown option 'x'"),
        ("pubsub://my-project", {"regoin": "x"}, "'regoin' isn't an option of Pub/Sub"),
        ("pubsub://my-project/a", {"queue_name_prefix": "b"}, "keep one of them"),
        ("pubsub://my-project", {"predefined_queues": {"work": {}}}, "has no topic"),
        ("pubsub://my-project", {"predefined_queues": {"work": {"topic": "t", "url": "x"}}}, "unknown 'url'"),
        ("pubsub://my-project", {"cloud_tasks_queue": "projects/p/locations/l/queues/q"}, "go together"),
        ("pubsub://my-project", {**TASKS, "cloud_tasks_queue": "later"}, "is not projects/"),
    ],
)
def test_wrong_url_or_option_is_named_in_the_error(url: str, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=expected) as caught:
        read(url, **options)
    assert "secret" not in str(caught.value)


def test_queue_has_kombus_name() -> None:
    assert canonical_name("a.b/c") == "a-b_c"
    assert canonical_name("a.b/c.fifo") == "a-b_c.fifo"
