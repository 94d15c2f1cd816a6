"""Celery's tables shared with Celery: its database backend reads our records, and our store reads its results."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
import sqlalchemy
from celery import Celery
from celery.app.task import Context
from celery.result import AsyncResult, GroupResult

from taskq_cloud.core.payloads.compressed_results import CompressedResults
from taskq_cloud.core.records.record import FAILURE, FINAL_VERSION, RETRY, STARTED, SUCCESS, version_of
from taskq_cloud.core.workflows.saved_groups import group_of_tasks, pages
from taskq_cloud.errors import DecodeError
from taskq_cloud.stores.results.sqlalchemy import SQLAlchemyResults
from taskq_cloud.testing.contracts.result_store import a_record
from taskq_cloud.testing.driving import Drive, driving
from tests.stores.results.sql_databases import mariadb_database, postgresql_database

pytestmark = pytest.mark.slow

SYSTEMS = ("sqlite", "postgresql", "mariadb")


@pytest.fixture(scope="module")
def databases(server_url: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a function that makes a database in which Celery has created the tables, once for each system."""
    with ExitStack() as stack:
        made: dict[str, str] = {}

        def database(system: str) -> str:
            if system not in made:
                made[system] = {
                    "sqlite": lambda: f"sqlite:///{tmp_path_factory.mktemp('celery') / 'results.db'}",
                    "postgresql": lambda: stack.enter_context(postgresql_database(server_url("postgresql"))),
                    "mariadb": lambda: stack.enter_context(mariadb_database(server_url("mariadb"))),
                }[system]()
            return made[system]

        yield database


def celerys_url(url: str) -> str:
    return f"db+{url}".replace("postgresql:", "postgresql+psycopg:")


def celery_app(url: str, **conf: Any) -> Any:
    app = Celery("shop", backend=celerys_url(url), set_as_current=False)
    app.conf.update(result_extended=True, **conf)
    return app


@pytest.fixture(params=SYSTEMS)
def url(request: pytest.FixtureRequest, databases: Any) -> str:
    made: str = databases(request.param)
    return made


@pytest.fixture
def app(url: str) -> Iterator[Any]:
    with closing(celery_app(url)) as made:
        yield made


@pytest.fixture
def store(url: str) -> SQLAlchemyResults:
    return SQLAlchemyResults(url)


@pytest.fixture
def run(store: SQLAlchemyResults) -> Iterator[Drive]:
    with driving("sync", store.services) as drive:
        yield drive


def test_records_that_we_save_are_read_by_celery(store: SQLAlchemyResults, run: Drive, app: Any) -> None:
    error = {"exc_type": "ValueError", "exc_message": ["too wide"], "exc_module": "builtins"}
    done, failed = a_record(value={"größe": [1, 2.5, None, "你好"]}), a_record(FAILURE, value=error)
    run(store.save([done, failed]))

    result = app.AsyncResult(done.id)
    assert (result.state, result.get(timeout=10)) == ("SUCCESS", {"größe": [1, 2.5, None, "你好"]})
    assert result.date_done.isoformat().startswith("2026-03-01T12:00:00")
    with pytest.raises(ValueError, match="too wide"):
        app.AsyncResult(failed.id).get(timeout=10)


def test_extended_columns_are_filled_for_celery(store: SQLAlchemyResults, run: Drive, app: Any) -> None:
    record = a_record()
    more = {
        "name": "shop.resize",
        "args": [1, "ä"],
        "kwargs": {"b": 2},
        "worker": "w1",
        "retries": 3,
        "queue": "images",
    }
    payload = json.dumps({**json.loads(record.payload), **more, "children": [[["child", None], None]]})
    record = a_record(id=record.id)
    run(store.save([type(record)(record.id, record.state, record.version, payload)]))

    result = app.AsyncResult(record.id)
    found = (result.name, result.args, result.kwargs, result.worker, result.retries, result.queue)
    assert found == ("shop.resize", [1, "ä"], {"b": 2}, "w1", 3, "images")
    assert [child.id for child in result.children] == ["child"]


def test_results_that_celery_saves_are_read_by_us(store: SQLAlchemyResults, run: Drive, app: Any) -> None:
    ids = [a_record().id for _ in range(3)]
    request = Context(id=ids[2], retries=2, task="shop.resize", args=("x",), kwargs={}, children=[])
    app.backend.store_result(ids[0], ["größe", 2], "SUCCESS")
    app.backend.store_result(ids[1], ValueError("too wide"), "FAILURE", traceback="Traceback ...")
    app.backend.store_result(ids[2], ValueError("later"), "RETRY", request=request)

    records = run(store.load(ids))

    done, failed, retried = (records[each] for each in ids)
    assert (done.state, done.version, done.fence, done.expires_at) == (SUCCESS, FINAL_VERSION, 0, None)
    document = json.loads(done.payload)
    assert (document["result"], document["task_id"], document["children"]) == (["größe", 2], ids[0], [])
    assert document["date_done"].endswith("+00:00")
    assert json.loads(failed.payload)["result"]["exc_type"] == "ValueError"
    assert json.loads(failed.payload)["traceback"] == "Traceback ..."
    assert (retried.state, retried.version) == (RETRY, version_of(RETRY, 2))
    assert json.loads(retried.payload)["name"] == "shop.resize"


def test_either_side_keeps_the_final_state_of_the_other(store: SQLAlchemyResults, run: Drive, app: Any) -> None:
    theirs, ours = a_record(value="ours"), a_record(value="ours")
    app.backend.store_result(theirs.id, "celery's", "SUCCESS")
    assert run(store.save([theirs, ours])) == [False, True]
    assert json.loads(run(store.load([theirs.id]))[theirs.id].payload)["result"] == "celery's"

    app.backend.store_result(ours.id, "celery's", "SUCCESS")
    assert run(store.load([ours.id])) == {ours.id: ours}


@pytest.mark.parametrize("state", ["STARTED", "RETRY", "PROGRESS"])
def test_unfinished_state_of_either_side_is_replaced_by_the_other(
    store: SQLAlchemyResults, run: Drive, app: Any, state: str
) -> None:
    theirs, ours = a_record(value="ours"), a_record(state, attempt=4, fence=3)
    app.backend.store_result(theirs.id, {"done": 1}, state)
    assert run(store.save([theirs, ours])) == [True, True]
    assert run(store.load([theirs.id])) == {theirs.id: theirs}

    app.backend.store_result(ours.id, "celery's", "FAILURE" if state == "PROGRESS" else state)
    record = run(store.load([ours.id]))[ours.id]
    assert (json.loads(record.payload)["result"], record.fence, record.expires_at) == ("celery's", 0, None)


def test_group_that_we_save_is_restored_by_celery(store: SQLAlchemyResults, run: Drive, app: Any) -> None:
    group, members = a_record().id, [a_record().id for _ in range(3)]
    (page,) = pages(group_of_tasks(group, members))
    run(store.save([page.record(time.time()), *(a_record(value=7, id=each) for each in members)]))

    restored = app.GroupResult.restore(group)

    assert [each.id for each in restored] == members
    assert restored.get(timeout=10) == [7, 7, 7]


def test_group_that_celery_saves_is_read_by_us(store: SQLAlchemyResults, run: Drive, app: Any) -> None:
    group, members = a_record().id, [a_record().id for _ in range(2)]
    GroupResult(group, [AsyncResult(each, app=app) for each in members], app=app).save(backend=app.backend)

    record = run(store.load([f"taskset-{group}"]))[f"taskset-{group}"]

    assert json.loads(record.payload)["result"] == [[group, None], [[[each, None], None] for each in members]]


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "lzma"])
def test_compressed_record_that_we_save_is_read_by_celery(databases: Any, compression: str) -> None:
    url = databases("sqlite")
    store, record = SQLAlchemyResults(url), a_record(value={"größe": "x" * 1000})
    with driving("async", store.services) as run, closing(celery_app(url)) as app:
        run(CompressedResults(store, compression).save([record]))
        assert app.AsyncResult(record.id).get(timeout=10) == {"größe": "x" * 1000}
        assert run(store.load([record.id])) == {record.id: record}


def test_pickles_of_older_celery_are_read_if_they_hold_plain_values(
    store: SQLAlchemyResults, run: Drive, url: str
) -> None:
    plain, with_code = a_record().id, a_record().id
    engine = sqlalchemy.create_engine(celerys_url(url).removeprefix("db+"))
    rows = [(plain, pickle.dumps({"a": [1, None]})), (with_code, pickle.dumps(ValueError("x")))]
    run(store.save([a_record(STARTED, id=each) for each, _ in rows]))
    with engine.begin() as connection:
        for task_id, value in rows:
            connection.execute(
                sqlalchemy.text("UPDATE celery_taskmeta SET status = 'SUCCESS', result = :value WHERE task_id = :id"),
                {"value": value, "id": task_id},
            )
    engine.dispose()

    assert json.loads(run(store.load([plain]))[plain].payload)["result"] == {"a": [1, None]}
    with pytest.raises(DecodeError, match="with builtins"):
        run(store.load([with_code]))


@pytest.mark.parametrize("system", SYSTEMS)
def test_celery_uses_the_tables_that_we_create(system: str, server_url: Any, tmp_path: Any) -> None:
    with ExitStack() as stack:
        url = {
            "sqlite": lambda: f"sqlite:///{tmp_path / 'results.db'}",
            "postgresql": lambda: stack.enter_context(postgresql_database(server_url("postgresql"))),
            "mariadb": lambda: stack.enter_context(mariadb_database(server_url("mariadb"))),
        }[system]()
        store = SQLAlchemyResults(url, {"database_table_names": {"task": "shop_tasks", "group": "shop_groups"}})
        run = stack.enter_context(driving("async", store.services))
        ours, large = a_record(), a_record(value="x" * 200_000)
        run(store.save([ours, large]))
        app = stack.enter_context(
            closing(celery_app(url, database_table_names={"task": "shop_tasks", "group": "shop_groups"}))
        )
        try:
            app.backend.store_result("theirs", 1, "SUCCESS")
            run(store.save([again := a_record()]))
            assert app.AsyncResult(large.id).get(timeout=10) == "x" * 200_000
            assert set(run(store.load([ours.id, again.id, "theirs"]))) == {ours.id, again.id, "theirs"}
        finally:
            app.backend.task_cls.configure()
            app.backend.taskset_cls.configure()
