"""``taskq purge`` and ``taskq queues``, on SQLite."""

from __future__ import annotations

import json

import pytest

from taskq_cloud.bootstrap.loading import find_app
from taskq_cloud.core.ports import Depth
from tests.cli.conftest import TaskQCommand

EMPTY = Depth(waiting=0, delayed=0, in_flight=0)


@pytest.fixture
def filled(shop: str) -> str:
    """The application's name, after two messages (one delayed) were sent to ``celery`` and one to ``mail``."""
    app = find_app(shop)
    app.tasks[f"{shop}.forget"].apply_async()
    app.tasks[f"{shop}.forget"].apply_async(countdown=600)
    app.tasks[f"{shop}.notify"].apply_async((1,))
    return shop


def depth(shop: str, queue: str) -> Depth:
    app = find_app(shop)
    counted = app.run(app.broker.depth(queue))
    assert counted is not None
    return counted


def test_queues_counts_the_messages_of_each_queue(taskq: TaskQCommand, filled: str) -> None:
    header, celery, mail = taskq("queues", "-A", filled).stdout.splitlines()
    assert header.split() == ["queue", "waiting", "delayed", "in", "flight", "dead", "letters"]
    assert celery.split()[:4] == ["celery", "1", "1", "0"]
    assert mail.split()[:4] == ["mail", "1", "0", "0"]


def test_queues_prints_counts_as_json(taskq: TaskQCommand, filled: str) -> None:
    app = find_app(filled)
    app.run(app.broker.receive("mail", 1, 0, 60))
    (celery,) = json.loads(taskq("-A", filled, "queues", "--json", "-Q", "celery").stdout)
    assert (celery["queue"], celery["waiting"], celery["delayed"], celery["in_flight"]) == ("celery", 1, 1, 0)
    (mail,) = json.loads(taskq("-A", filled, "queues", "--json", "-Q", "mail").stdout)
    assert (mail["waiting"], mail["in_flight"]) == (0, 1)


def test_purge_asks_first_and_prints_the_number_of_removed_messages(taskq: TaskQCommand, filled: str) -> None:
    refused = taskq("-A", filled, "purge", input="n\n")
    assert refused.exit_code == 1
    assert "celery (2)" in refused.stderr
    assert "mail (1)" in refused.stderr
    assert depth(filled, "mail").waiting == 1
    agreed = taskq("-A", filled, "purge", input="y\n")
    assert agreed.exit_code == 0
    assert agreed.stdout.splitlines() == ["celery: 2 messages removed", "mail: 1 message removed"]
    assert depth(filled, "celery") == depth(filled, "mail") == EMPTY


def test_purge_without_an_answer_removes_nothing(taskq: TaskQCommand, filled: str) -> None:
    assert taskq("-A", filled, "purge", input="").exit_code == 1
    assert depth(filled, "celery").waiting == 1


def test_purge_with_force_empties_the_named_queue_without_asking(taskq: TaskQCommand, filled: str) -> None:
    result = taskq("-A", filled, "purge", "-f", "-Q", "mail")
    assert result.exit_code == 0
    assert result.stdout == "mail: 1 message removed\n"
    assert depth(filled, "celery").waiting == 1
