"""Tests of how a broker is found by its URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.brokers.registry import broker_from_url
from taskq_cloud.errors import ImproperlyConfigured


def test_memory_url_opens_the_memory_broker() -> None:
    assert isinstance(broker_from_url("memory://", {}), MemoryBroker)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///state/queues.db", "{here}/state/queues.db"),
        ("sqlite:////var/lib/shop/queues.db", "/var/lib/shop/queues.db"),
        ("sqlite:///with%20space.db", "{here}/with space.db"),
    ],
)
def test_sqlite_url_gives_the_absolute_path(
    url: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    broker = broker_from_url(url, {})
    [service] = broker.services.values()
    assert dict(service.options) == {"path": path.format(here=tmp_path)}
    assert list(tmp_path.iterdir()) == []


def test_two_sqlite_files_are_two_services() -> None:
    first, second = (broker_from_url(f"sqlite:///{name}.db", {}) for name in ("one", "two"))
    assert not first.services.keys() & second.services.keys()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://queues.db", "sqlite:///relative/path"),
        ("sqlite:///queues.db?mode=ro", "mode"),
        ("memory://?size=3", "size"),
        ("etcd://localhost", "amqp://, amqps://, memory://, postgresql://, pubsub://, redis://"),
        ("queues.db", "sentinel://, sqlite://, sqs://"),
    ],
)
def test_wrong_url_error_says_what_is_right(url: str, says: str) -> None:
    with pytest.raises(ImproperlyConfigured) as raised:
        broker_from_url(url, {})
    assert says in str(raised.value)


@pytest.mark.parametrize("url", ["etcd://me:secret@host/0", "sqlite://me:secret@host/x.db", "etcd://me:secret@[host/0"])
def test_password_in_a_wrong_url_is_not_shown(url: str) -> None:
    with pytest.raises(ImproperlyConfigured) as raised:
        broker_from_url(url, {})
    assert "secret" not in str(raised.value)
