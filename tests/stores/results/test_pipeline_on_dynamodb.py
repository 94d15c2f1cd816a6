"""The execution pipeline with its records in DynamoDB, crashed at every step."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.stores.results.dynamodb import DynamoDBResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.pipeline import PipelineContract
from taskq_cloud.testing.contracts.result_store import THE_YEAR_2100

pytestmark = pytest.mark.slow


class TestOnDynamoDB(PipelineContract):
    interleavings = 2
    crash_before_too = False
    steps_apart = 8

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock(THE_YEAR_2100)  # the stack removes expired items by its own clock

    @pytest.fixture
    def broker(self, clock: FakeClock) -> MemoryBroker:
        return MemoryBroker(clock)

    @pytest.fixture
    def store(
        self, make_table: Callable[..., str], aws_environment: dict[str, str], clock: FakeClock
    ) -> DynamoDBResults:
        return DynamoDBResults(make_table(), clock=clock)
