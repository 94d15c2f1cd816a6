"""The result store in Celery's tables by SQLAlchemy, in SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
import sqlalchemy

from taskq_cloud.stores.results.sqlalchemy import SQLAlchemyResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.driving import driving
from tests.stores.results.shared_store import SharedStoreContract
from tests.stores.results.sql_databases import mariadb_database, postgresql_database, postgresql_server
from tests.stores.results.sql_scenario import run_scenario

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


@pytest.mark.parametrize(
    ("system", "scheme", "options"),
    [
        ("postgresql", "postgresql+asyncpg", {}),
        ("postgresql", "postgresql", {"table_schemas": {"task": "shop", "group": "shop"}}),
        ("mariadb", "mariadb+asyncmy", {"short_lived_sessions": True}),
        (
            "sqlite",
            "sqlite",
            {"table_names": {"task": "Shop_Tasks"}, "engine_options": {"connect_args": {"timeout": 1}}},
        ),
    ],
    ids=["asyncpg", "schema", "mariadb", "names"],
)
def test_other_drivers_and_options_work(databases: Any, system: str, scheme: str, options: dict[str, Any]) -> None:
    url = f"{scheme}:{databases(system).partition(':')[2]}"
    if "table_schemas" in options:
        server, _, name = databases(system).rpartition("/")
        with closing(postgresql_server(server, name)) as connection:
            connection.execute("CREATE SCHEMA shop")
    clock = FakeClock()
    store = SQLAlchemyResults(url, options, clock=clock)
    with driving("async", store.services) as run:
        run_scenario(store, run, clock)
        by_server = SQLAlchemyResults(url, options)
        assert [run(by_server.claim("lock", owner, 60)) for owner in ("a", "a", "b")] == [1, 1, None]
