"""The result store in Celery's tables by SQLAlchemy, in SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import sqlalchemy

from taskq_cloud.stores.results.sqlalchemy import SQLAlchemyResults
from taskq_cloud.testing.clock import FakeClock
from tests.stores.results.shared_store import SharedStoreContract
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


def without_disk(engine: Any) -> None:
    """Let SQLite wait for no disk, of which the tests of the contract need nothing."""

    @sqlalchemy.event.listens_for(getattr(engine, "sync_engine", engine), "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")


class TestSQLAlchemy(SharedStoreContract):
    @pytest.fixture(scope="class", params=["sqlite", "postgresql", "mariadb"])
    @classmethod
    def shared(cls, request: pytest.FixtureRequest, databases: Any, shared_clock: FakeClock) -> SQLAlchemyResults:
        options = {"engine_callback": without_disk} if request.param == "sqlite" else {}
        return SQLAlchemyResults(databases(request.param), options, clock=shared_clock)
