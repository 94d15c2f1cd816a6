"""The result store in a database of Django's settings, with and without django-celery-results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from taskq_cloud.stores.results.django_orm import DjangoResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.driving import driving
from tests.stores.results.django_project import configured, create_results_tables, database_settings
from tests.stores.results.shared_store import SharedStoreContract
from tests.stores.results.sql_databases import mariadb_database, postgresql_database
from tests.stores.results.sql_scenario import run_scenario

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def urls(server_url: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Databases of this module's own, by their aliases."""
    with ExitStack() as stack:
        yield {
            "default": f"sqlite:///{tmp_path_factory.mktemp('django') / 'shop.db'}",
            "postgresql": stack.enter_context(postgresql_database(server_url("postgresql"))),
            "mariadb": stack.enter_context(mariadb_database(server_url("mariadb"))),
        }


@pytest.fixture(scope="module")
def project(urls: dict[str, str]) -> Iterator[None]:
    """A Django project with django-celery-results."""
    with configured({alias: database_settings(url) for alias, url in urls.items()}):
        for alias in urls:
            create_results_tables(alias)
        yield


class TestDjango(SharedStoreContract):
    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls, project: None, shared_clock: FakeClock) -> DjangoResults:
        return DjangoResults(clock=shared_clock)


@pytest.mark.parametrize("driver", ["sync", "async"])
@pytest.mark.parametrize("alias", ["postgresql", "mariadb"])
@pytest.mark.usefixtures("project")
def test_store_works_on_a_server(alias: str, driver: str) -> None:
    clock = FakeClock()
    store = DjangoResults(alias, clock=clock)
    with driving(driver, store.services) as run:
        run_scenario(store, run, clock)
        by_server = DjangoResults(alias)
        assert [run(by_server.claim(f"key {driver}", owner, 60)) for owner in ("a", "a", "b")] == [1, 1, None]


@pytest.mark.parametrize("alias", ["default", "postgresql", "mariadb"])
def test_store_works_without_the_app_for_results(alias: str, urls: dict[str, str], project: None) -> None:
    clock = FakeClock()
    with configured({"default": database_settings(urls[alias])}, installed=()):
        store = DjangoResults(clock=clock)
        with driving("sync", store.services) as run:
            run_scenario(store, run, clock)
