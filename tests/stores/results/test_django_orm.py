"""The result store in a database of Django's settings, with and without django-celery-results."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import django
import pytest
from celery import Celery
from celery.result import AsyncResult, GroupResult
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured as DjangoNotConfigured
from django.db import connections, transaction
from django.test.utils import override_settings

from taskq_cloud.clients.connections import Connections
from taskq_cloud.clients.django import set_up
from taskq_cloud.core.records.record import FAILURE, FINAL_VERSION, STARTED, SUCCESS
from taskq_cloud.core.workflows.saved_groups import group_of_tasks, pages
from taskq_cloud.errors import ImproperlyConfigured, StoreNotFound, Unreachable
from taskq_cloud.stores.results._sql_tables import our_columns
from taskq_cloud.stores.results.django_orm import DjangoResults
from taskq_cloud.stores.results.registry import store_from_url
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import a_record
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


@pytest.mark.parametrize("alias", ["postgresql", "mariadb"])
@pytest.mark.usefixtures("project")
def test_workers_that_add_the_columns_at_once_save_their_results(alias: str) -> None:
    clients = 10
    for _ in range(3):
        with connections[alias].cursor() as cursor:
            for column in our_columns("mariadb" if alias == "mariadb" else "postgresql"):
                cursor.execute(f"ALTER TABLE django_celery_results_taskresult DROP COLUMN IF EXISTS {column}")
        stores = [DjangoResults(alias) for _ in range(clients)]
        with driving("sync", stores[0].services) as run:
            assert run.together([store.save([a_record()]) for store in stores]) == [[True]] * clients


@pytest.mark.parametrize("alias", ["default", "postgresql", "mariadb"])
def test_store_works_without_the_app_for_results(alias: str, urls: dict[str, str], project: None) -> None:
    clock = FakeClock()
    with configured({"default": database_settings(urls[alias])}, installed=()):
        store = DjangoResults(clock=clock)
        with driving("sync", store.services) as run:
            run_scenario(store, run, clock)


@pytest.fixture
def celery_app(project: None) -> Iterator[Any]:
    """Celery with its backend of django-celery-results."""
    with closing(Celery("shop", backend="django-db", set_as_current=False)) as app:
        app.conf.update(result_extended=True)
        yield app


@pytest.fixture
def run(project: None) -> Iterator[Callable[[Any], Any]]:
    with closing(Connections(DjangoResults().services)) as made:
        yield made.run


def test_records_that_we_save_are_read_by_celery_and_django(run: Callable[[Any], Any], celery_app: Any) -> None:
    from django_celery_results.models import TaskResult

    error = {"exc_type": "ValueError", "exc_message": ["too wide"], "exc_module": "builtins"}
    done, failed = a_record(value={"größe": [1, None]}), a_record(FAILURE, value=error)
    run(DjangoResults().save([done, failed]))

    assert celery_app.AsyncResult(done.id).get(timeout=10) == {"größe": [1, None]}
    with pytest.raises(ValueError, match="too wide"):
        celery_app.AsyncResult(failed.id).get(timeout=10)
    row = TaskResult.objects.get(task_id=done.id)
    assert (row.status, json.loads(row.result)) == ("SUCCESS", {"größe": [1, None]})
    assert row.date_done.isoformat() == "2026-03-01T12:00:00+00:00"


def test_results_that_celery_saves_are_read_by_us(run: Callable[[Any], Any], celery_app: Any) -> None:
    store, ids = DjangoResults(), [a_record().id for _ in range(3)]
    celery_app.backend.store_result(ids[0], ["größe", 2], "SUCCESS")
    celery_app.backend.store_result(ids[1], ValueError("too wide"), "FAILURE", traceback="Traceback ...")
    celery_app.backend.store_result(ids[2], {"done": 1}, "STARTED")

    done, failed, started = (run(store.load(ids))[each] for each in ids)

    assert (done.state, done.version, json.loads(done.payload)["result"]) == (SUCCESS, FINAL_VERSION, ["größe", 2])
    assert json.loads(done.payload)["date_done"].endswith("+00:00")
    assert json.loads(failed.payload)["result"]["exc_type"] == "ValueError"
    assert started.state == STARTED
    ours = [a_record(value="ours", id=each) for each in ids]
    assert run(store.save(ours)) == [False, False, True]
    assert run(store.load(ids[2:])) == {ids[2]: ours[2]}


def test_row_that_celery_writes_after_us_is_celerys(run: Callable[[Any], Any], celery_app: Any) -> None:
    store, running = DjangoResults(), a_record(STARTED, attempt=3, fence=2)
    run(store.save([running]))
    celery_app.backend.store_result(running.id, "celery's", "FAILURE")
    record = run(store.load([running.id]))[running.id]
    assert (record.state, record.fence, json.loads(record.payload)["result"]) == (FAILURE, 0, "celery's")
    assert run(store.save([a_record(id=running.id)])) == [False]


def test_groups_are_shared_with_celery(run: Callable[[Any], Any], celery_app: Any) -> None:
    store, members = DjangoResults(), [a_record().id for _ in range(2)]
    ours, theirs = a_record().id, a_record().id
    (page,) = pages(group_of_tasks(ours, members))
    run(store.save([page.record(4e9), *(a_record(value=7, id=each) for each in members)]))
    results = [AsyncResult(each, app=celery_app) for each in members]
    GroupResult(theirs, results, app=celery_app).save(backend=celery_app.backend)

    assert celery_app.GroupResult.restore(ours).get(timeout=10) == [7, 7]
    content = json.loads(run(store.load([f"taskset-{theirs}"]))[f"taskset-{theirs}"].payload)["result"]
    assert content == [[theirs, None], [[[each, None], None] for each in members]]


def test_write_in_a_transaction_of_the_caller_goes_with_it(run: Callable[[Any], Any]) -> None:
    store, kept, undone = DjangoResults(), a_record(), a_record()
    with transaction.atomic():
        run(store.save([kept]))
    with transaction.atomic():
        run(store.save([undone]))
        assert run(store.load([undone.id])) == {undone.id: undone}
        transaction.set_rollback(True)
    assert run(store.load([kept.id, undone.id])) == {kept.id: kept}


@pytest.mark.parametrize("alias", ["default", "postgresql", "mariadb"])
def test_tables_stay_when_the_transaction_of_their_first_use_is_undone(alias: str, project: None) -> None:
    store = DjangoResults(alias)
    with connections[alias].cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS taskq_joins")
    with closing(Connections(store.services)) as made:
        with transaction.atomic(using=alias):
            assert not made.run(store.join("j", "0", 2, None))
            transaction.set_rollback(True, using=alias)
        assert not made.run(store.join("j", "1", 2, None))
        assert made.run(store.join("j", "0", 2, None))


def test_times_follow_use_tz(run: Callable[[Any], Any]) -> None:
    from django_celery_results.models import TaskResult

    record = a_record()
    with override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin"):
        run(DjangoResults().save([record]))
        assert TaskResult.objects.get(task_id=record.id).date_done.isoformat() == "2026-03-01T13:00:00"


def test_time_zone_of_settings_does_not_outlive_them() -> None:
    before = os.environ.get("TZ"), time.localtime(0).tm_gmtoff
    with configured({}), override_settings(TIME_ZONE="Asia/Tokyo"):
        assert time.localtime(0).tm_gmtoff == 9 * 3600
    assert (os.environ.get("TZ"), time.localtime(0).tm_gmtoff) == before


def test_missing_table_names_the_migration(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("empty") / "shop.db"
    with configured({"default": database_settings(f"sqlite:///{path}")}):
        store = DjangoResults()
        with closing(Connections(store.services)) as made:
            flow = store.save([a_record()])
            with pytest.raises(StoreNotFound, match="migrate django_celery_results"):
                made.run(flow)


@pytest.mark.parametrize("alias", ["postgresql", "mariadb"])
def test_server_that_is_not_there_is_unreachable(alias: str, urls: dict[str, str]) -> None:
    settings = {**database_settings(urls[alias]), "PORT": 1}
    with configured({"default": settings}):
        store = DjangoResults()
        with closing(Connections(store.services)) as made:
            flow = store.load(["task"])
            with pytest.raises(Unreachable, match="Django's database 'default'"):
                made.run(flow, longest_seconds=0.1)


@pytest.mark.parametrize(("url", "said"), [("django-db://absent", "absent"), ("django-db://default/x", "ALIAS")])
def test_database_that_is_not_there_is_refused(url: str, said: str, project: None) -> None:
    def open_store() -> None:
        Connections(store_from_url(url, {}).services).open()

    with pytest.raises(ImproperlyConfigured, match=said):
        open_store()


def test_missing_settings_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise DjangoNotConfigured("no settings")

    monkeypatch.setattr(apps, "ready", False)
    monkeypatch.setattr(django, "setup", fail)
    with pytest.raises(ImproperlyConfigured, match="DJANGO_SETTINGS_MODULE"):
        set_up()
