from __future__ import annotations

import pytest

from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.broker import BrokerContract


class TestMemoryBroker(BrokerContract):
    @pytest.fixture
    def clock(self):
        return FakeClock()

    @pytest.fixture
    def advance(self, clock):
        return clock.advance

    @pytest.fixture
    def broker(self, clock):
        return MemoryBroker(clock)

    @pytest.fixture
    def queue(self):
        return "work"

    @pytest.fixture
    def ordered_queue(self):
        return "work.fifo"
