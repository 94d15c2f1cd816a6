"""The result store in PostgreSQL's tables of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from taskq_cloud.stores.results.postgresql import PostgreSQLResults
from taskq_cloud.testing.clock import FakeClock
from tests.stores.results.shared_store import SharedStoreContract
from tests.stores.results.sql_databases import postgresql_database

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database(server_url: Callable[[str], str]) -> Iterator[str]:
    """The URL of a database of this module's own."""
    with postgresql_database(server_url("postgresql")) as url:
        yield url


class TestPostgreSQL(SharedStoreContract):
    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls, database: str, shared_clock: FakeClock) -> PostgreSQLResults:
        return PostgreSQLResults(database, clock=shared_clock)
