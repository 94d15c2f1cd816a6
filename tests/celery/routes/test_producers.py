"""Messages that a program publishes itself: Celery and we must tell a producer to do the same."""

from collections.abc import Iterator
from typing import Any

import celery
import celery.signals
import pytest

import taskq_cloud.celery
import taskq_cloud.celery.signals
from taskq_cloud.celery.contrib.testing.app import TestApp, setup_default_app
from taskq_cloud.celery.exceptions import ImproperlyConfigured, QueueNotFound
from taskq_cloud.testing import run_tasks

BOTH = pytest.mark.parametrize("package", [celery, taskq_cloud.celery], ids=["celery", "ours"])
SETTINGS: dict[str, Any] = {
    "task_queues": {
        "celery": {},
        "direct": {"exchange": "ex", "routing_key": "key"},
        "topic": {"exchange": "news", "exchange_type": "topic", "routing_key": "news.#"},
    },
    "task_publish_retry_policy": {"max_retries": 2},
    "task_compression": "zlib",
}


class Recorder:
    """A producer, and a dispatcher of events, that write down what they are told."""

    connection = None

    def __init__(self) -> None:
        self.published: list[Any] = []

    def publish(self, *args: Any, **kwargs: Any) -> str:
        self.published.append((args, kwargs))
        return "published"


def _plain(value: Any) -> Any:
    """Queues by their names, as the two packages have different classes for them."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return f"<{value.name}>" if hasattr(value, "routing_key") or hasattr(value, "delivery_mode") else value


CALLS: list[dict[str, Any]] = [
    {},
    {"queue": "direct"},
    {"queue": "topic"},
    {"queue": "topic", "routing_key": "news.today"},
    {"queue": "new", "serializer": "yaml", "compression": "bzip2", "delivery_mode": 1},
    {"exchange": "ex", "routing_key": "key"},
    {"exchange": "ex"},
    {"exchange": "news", "exchange_type": "topic", "routing_key": "news.x"},
    {"headers": {"mine": 1}, "priority": 3, "expiration": 4},
    {"retry": False, "retry_policy": {"interval_start": 1}, "timeout": 5, "confirm_timeout": 6, "declare": []},
]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("options", CALLS, ids=str)
def test_producer_is_told_what_celery_tells(version: int, options: dict[str, Any]) -> None:
    outcomes = []
    for package in (celery, taskq_cloud.celery):
        app = package.Celery("p", set_as_current=False, changes={**SETTINGS, "task_protocol": version})
        message = app.amqp.create_task_message("i", "proj.add", (1, 2), {"k": 3}, create_sent_event=True, origin="o")
        producer, events, sent = Recorder(), Recorder(), Recorder()
        signals = package.signals
        connected = (signals.before_task_publish, signals.after_task_publish, signals.task_sent)

        def receiver(signal: Any, sent: Recorder = sent, **kwargs: Any) -> None:
            sent.publish(signal.name, **kwargs)

        for signal in connected:
            signal.connect(receiver, sender="proj.add")
        try:
            answer = app.amqp.send_task_message(producer, "proj.add", message, event_dispatcher=events, **options)
        finally:
            for signal in connected:
                signal.disconnect(receiver, sender="proj.add")
        events.published = [(args[:2], kwargs) for args, kwargs in events.published]
        outcomes.append((answer, _plain(producer.published), _plain(sent.published), _plain(events.published)))
    assert outcomes[0][0] == "published"
    assert outcomes[0] == outcomes[1]


@pytest.fixture
def app() -> Iterator[Any]:
    made = TestApp(config={"task_queues": SETTINGS["task_queues"]})
    with setup_default_app(made):
        yield made


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("options", [{}, {"queue": "direct"}, {"exchange": "news", "routing_key": "news.x"}], ids=str)
def test_published_message_is_run(app: Any, version: int, options: dict[str, Any]) -> None:
    got: list[Any] = []

    def work(*args: Any, **kwargs: Any) -> None:
        got.append((args, kwargs))

    task = app.task(work, name="proj.work")
    message = app.amqp.task_protocols[version]("the-id", task.name, (1, "two"), {"three": [4]})
    with app.producer_pool.acquire(block=True) as producer:
        app.amqp.send_task_message(producer, task.name, message, **options)
    run_tasks(app.native)
    assert got == [((1, "two"), {"three": [4]})]
    assert app.AsyncResult("the-id").state == "SUCCESS"


def test_message_that_is_not_a_tasks_is_refused(app: Any) -> None:
    with app.producer_or_acquire() as producer, pytest.raises(ImproperlyConfigured, match="names no task"):
        producer.publish({"hello": "world"}, routing_key="celery")


def test_message_for_unknown_exchange_is_refused(app: Any) -> None:
    message = app.amqp.create_task_message("i", "proj.add")
    with app.producer_or_acquire() as producer, pytest.raises(QueueNotFound, match="exchange 'absent'"):
        app.amqp.send_task_message(producer, "proj.add", message, exchange="absent", routing_key="k")
