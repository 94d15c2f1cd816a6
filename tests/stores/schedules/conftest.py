from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stores.schedules.cloud_scheduler_server import CloudSchedulerServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudSchedulerServer]:
    """A Cloud Scheduler server and a Pub/Sub server, with the environment that points clients to both."""
    with CloudSchedulerServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server
