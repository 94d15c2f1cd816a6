"""Tests of the PostgreSQL broker on a server: the contract of brokers, and what only this broker does."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from taskq_cloud.brokers._postgresql_schema import Tables
from taskq_cloud.brokers.postgresql import PostgreSQLBroker
from taskq_cloud.core.postgresql import Database, database_of
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.broker import BrokerContract

pytestmark = pytest.mark.slow


@pytest.fixture
def database(server_url: Callable[[str], str]) -> Database:
    return database_of([urlsplit(f"{server_url('postgresql')}/postgres")])


class TestPostgreSQLBroker(BrokerContract):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def advance(self, clock: FakeClock) -> Callable[[float], None]:
        return clock.advance

    @pytest.fixture
    def broker(self, database: Database, clock: FakeClock) -> PostgreSQLBroker:
        return PostgreSQLBroker(database, Tables(schema="contract"), clock)

    @pytest.fixture
    def queue(self) -> str:
        return f"work-{uuid4().hex}"

    @pytest.fixture
    def ordered_queue(self) -> str:
        return f"work-{uuid4().hex}.fifo"
