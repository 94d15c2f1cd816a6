"""The result store in PostgreSQL's tables of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from taskq_cloud.stores.results.postgresql import PostgreSQLResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract
from tests.stores.results.sql_databases import postgresql_database, postgresql_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database(server_url: Callable[[str], str]) -> Iterator[str]:
    """The URL of a database of this module's own."""
    with postgresql_database(server_url("postgresql")) as url:
        yield url


class TestPostgreSQL(ResultStoreContract):
    @pytest.fixture
    def store(self, database: str, clock: FakeClock) -> PostgreSQLResults:
        server, _, name = database.rpartition("/")
        with closing(postgresql_server(server, name)) as connection:
            if connection.execute("SELECT to_regclass('taskq_results')").fetchone()[0] is not None:
                connection.execute("DELETE FROM taskq_results; DELETE FROM taskq_claims; DELETE FROM taskq_rates")
        return PostgreSQLResults(database, clock=clock)
