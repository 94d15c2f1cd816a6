"""The result store in Celery's tables by SQLAlchemy, in SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from taskq_cloud.stores.results.sqlalchemy import SQLAlchemyResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract
from tests.stores.results.sql_databases import mariadb_database, postgresql_database

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def databases(server_url: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a function that makes a database of this module's own, once for each system."""
    with ExitStack() as stack:
        made: dict[str, str] = {}

        def database(system: str) -> str:
            if system not in made:
                made[system] = {
                    "sqlite": lambda: f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'results.db'}",
                    "postgresql": lambda: stack.enter_context(postgresql_database(server_url("postgresql"))),
                    "mariadb": lambda: stack.enter_context(mariadb_database(server_url("mariadb"))),
                }[system]()
            return made[system]

        yield database


def empty(url: str) -> None:
    """Remove the rows that a test before may have left under the keys that tests share."""
    scheme = {"postgresql": "postgresql+psycopg", "sqlite": "sqlite"}.get(url.partition(":")[0], "mysql+pymysql")
    engine = sqlalchemy.create_engine(f"{scheme}:{url.partition(':')[2]}")
    with engine.begin() as connection:
        present = sqlalchemy.inspect(connection).get_table_names()
        for table in {"celery_taskmeta", "taskq_claims", "taskq_rates"} & set(present):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    engine.dispose()


class TestSQLAlchemy(ResultStoreContract):
    @pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
    def store(self, request: pytest.FixtureRequest, databases: Any, clock: FakeClock) -> SQLAlchemyResults:
        url = databases(request.param)
        empty(url)
        return SQLAlchemyResults(url, clock=clock)
