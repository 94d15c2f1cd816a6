"""Celery's layout on Redis, on a real server: the contract, and what kombu makes of what is in Redis."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from taskq_cloud.brokers._redis_celery import CeleryRedisBroker
from taskq_cloud.testing import FakeClock
from taskq_cloud.testing.contracts.broker import BrokerContract

pytestmark = pytest.mark.slow


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def advance(clock: FakeClock) -> Callable[[float], None]:
    return clock.advance


@pytest.fixture
def prefix() -> str:
    return f"{uuid4().hex}:"


@pytest.fixture
def broker(server_url: Callable[[str], str], prefix: str, clock: FakeClock) -> CeleryRedisBroker:
    return CeleryRedisBroker([server_url("redis")], {"global_keyprefix": prefix}, clock)


@pytest.fixture
def queue() -> str:
    return "work"


class TestCeleryLayout(BrokerContract):
    @pytest.fixture
    def broker(self, server_url: Callable[[str], str], prefix: str, clock: FakeClock) -> CeleryRedisBroker:
        return CeleryRedisBroker([server_url("redis")], {"global_keyprefix": prefix}, clock)

    @pytest.fixture
    def queue(self) -> str:
        return "work"

    @pytest.fixture
    def advance(self, clock: FakeClock) -> Callable[[float], None]:
        return clock.advance
