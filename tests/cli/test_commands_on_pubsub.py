"""``taskq queues`` and ``taskq purge`` on a broker that does not count its messages."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from taskq_cloud.bootstrap.loading import find_app
from tests.brokers.pubsub_server import PubSubServer
from tests.cli.conftest import TaskQCommand


@pytest.fixture
def server(shop: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[PubSubServer]:
    with PubSubServer() as server:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
        monkeypatch.setenv("TASKQ_BROKER", f"pubsub://{server.project}/")
        for name in ("celery", "celery-dead", "mail"):
            server.make_queue(name)
        yield server


def test_queues_prints_a_question_mark_for_uncounted_messages(
    taskq: TaskQCommand, shop: str, server: PubSubServer
) -> None:
    _, celery, mail, none = taskq("queues", "-A", shop, "-Q", "celery,mail,none").stdout.splitlines()
    assert celery.split() == ["celery", "?", "?", "?", "?"]
    assert mail.split() == ["mail", "?", "?", "?", "-"]
    assert none.split() == ["none", "-", "-", "-", "-"]
    (row,) = json.loads(taskq("queues", "-A", shop, "-Q", "celery", "--json").stdout)
    assert row == {"queue": "celery", "waiting": None, "delayed": None, "in_flight": None, "dead_letters": None}


def test_purge_empties_a_queue_without_counting_its_messages(
    taskq: TaskQCommand, shop: str, server: PubSubServer
) -> None:
    find_app(shop).tasks[f"{shop}.forget"].apply_async()
    result = taskq("purge", "-A", shop, "-Q", "celery", input="y\n")
    assert "celery (not counted)" in result.stderr
    assert result.stdout == "celery: all messages removed\n"
    assert server.left("celery") == 0
