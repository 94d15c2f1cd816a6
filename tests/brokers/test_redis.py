"""Tests of the Redis broker in its own layout, on a real server: the contract of brokers, waiting, and URLs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from taskq_cloud.brokers.redis import RedisBroker
from taskq_cloud.core.flows import Flow, Sleep
from taskq_cloud.core.model.message import Acknowledge, Outgoing, Refused, Release, Sent
from taskq_cloud.core.ports import Depth, ListsHeld
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.broker import BrokerContract
from taskq_cloud.testing.driving import Drive, driving

pytestmark = pytest.mark.slow


class TestRedisBroker(BrokerContract):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def advance(self, clock: FakeClock) -> Callable[[float], None]:
        return clock.advance

    @pytest.fixture
    def broker(self, clock: FakeClock, server_url: Callable[[str], str]) -> RedisBroker:
        return RedisBroker(server_url("redis"), {"global_keyprefix": f"{uuid4()}:"}, clock)

    @pytest.fixture
    def queue(self) -> str:
        return "work"

    @pytest.fixture
    def ordered_queue(self) -> str:
        return "work.fifo"
