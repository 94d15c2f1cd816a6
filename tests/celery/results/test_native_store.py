"""Results of tasks that native workers run, native results that become Celery's, and what differs from Celery."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator
from typing import Any

import celery.backends.base
import pytest

from taskq_cloud import errors
from taskq_cloud.celery import Celery, chain, chord, exceptions, group
from taskq_cloud.celery.app import backends
from taskq_cloud.celery.app.task import Context
from taskq_cloud.celery.backends.base import BaseBackend, DisabledBackend
from taskq_cloud.celery.backends.store import StoreBackend
from taskq_cloud.celery.contrib.testing.worker import start_worker
from taskq_cloud.celery.exceptions import ImproperlyConfigured
from taskq_cloud.celery.result import (
    AsyncResult,
    EagerResult,
    GroupResult,
    ResultSet,
    adopt,
    allow_join_result,
    result_from_tuple,
)
from taskq_cloud.core.records.record import SUCCESS
from taskq_cloud.results import async_result as native_results
from taskq_cloud.results import group_result as native_groups
from taskq_cloud.results.result_set import ResultSet as NativeSet
from taskq_cloud.results.state import TaskState
from tests.celery.results.sides import SETTINGS
from tests.celery.utils.loggers import loggers_as_before


class Given(Exception):
    """An exception with a text that its arguments don't say."""

    def __str__(self) -> str:
        return f"given {self.args[0]}"


@pytest.fixture(scope="module")
def app() -> Iterator[Any]:
    made = Celery("stored", set_as_current=False, fixups=[])
    made.conf.update(SETTINGS)

    @made.task(name="add", shared=False)  # type: ignore[untyped-decorator]
    def add(x: int, y: int) -> int:
        return x + y

    @made.task(name="total", shared=False)  # type: ignore[untyped-decorator]
    def total(values: list[int]) -> int:
        return sum(values)

    @made.task(name="fail", shared=False)  # type: ignore[untyped-decorator]
    def fail() -> None:
        raise Given("up")

    @made.task(name="wait", shared=False)  # type: ignore[untyped-decorator]
    def wait(allowed: bool) -> int:
        made.backend.mark_as_done("ready", 2)
        result = made.AsyncResult("ready")
        if not allowed:
            return int(result.get(timeout=10))
        with allow_join_result():
            return int(result.get(timeout=10))

    @made.task(name="returns_result", shared=False)  # type: ignore[untyped-decorator]
    def returns_result() -> Any:
        return add.delay(2, 2)

    with loggers_as_before(), start_worker(made, concurrency=2, perform_ping_check=False):
        yield made
    made.close()


def test_value_of_task_is_read(app: Any) -> None:
    result = app.tasks["add"].delay(1, 2)
    assert result.get(timeout=10) == 3
    assert (result.state, result.name, result.args, result.retries) == ("SUCCESS", "add", [1, 2], 0)
    assert result.date_done is not None
    assert result.exists()
    assert app.backend.get_task_meta(result.id)["result"] == 3


def test_exception_of_task_is_made_anew_with_its_text(app: Any) -> None:
    result = app.tasks["fail"].delay()
    with pytest.raises(Given, match="given up"):
        result.get(timeout=10)
    assert result.failed()
    assert "Given" in result.traceback


def test_waiting_inside_worker_needs_permission(app: Any) -> None:
    with pytest.raises(RuntimeError, match=r"Never call result.get"):
        app.tasks["wait"].delay(allowed=False).get(timeout=10)
    assert app.tasks["wait"].delay(allowed=True).get(timeout=10) == 2


def test_results_of_chain_know_each_other(app: Any) -> None:
    add = app.tasks["add"]
    result = chain(add.s(1, 2), add.s(3), app=app)()
    assert result.get(timeout=10) == 6
    assert result.parent.get() == 3
    assert result.parent.children == [result]
    assert list(result.parent.collect()) == [(result.parent, 3), (result, 6)]
    assert list(result.parent.graph) == [result.parent, result]
    assert isinstance(result.parent, app.AsyncResult)


def test_results_of_group_are_read_in_one_look(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    add = app.tasks["add"]
    result = group((add.s(i, i) for i in range(20)), app=app)()
    assert result.get(timeout=10) == [2 * i for i in range(20)]
    fresh = app.GroupResult(result.id, [app.AsyncResult(each.id) for each in result])
    asked: list[int] = []
    load = app.store.load

    def counting(ids: Any) -> Any:
        asked.append(len(ids))
        return load(ids)

    monkeypatch.setattr(app.store, "load", counting)
    assert fresh.successful()
    assert fresh.completed_count() == 20
    assert asked == [20]


def test_chord_body_has_result_of_header_as_parent(app: Any) -> None:
    add = app.tasks["add"]
    result = chord([add.s(1, 1), add.s(2, 2)], app.tasks["total"].s(), app=app)()
    assert result.get(timeout=10) == 6
    assert isinstance(result.parent, GroupResult)
    assert result.parent.get() == [2, 4]


def test_result_that_task_returns_is_stored_as_tuple(app: Any) -> None:
    value = app.tasks["returns_result"].delay().get(timeout=10)
    assert value[1] is None
    assert app.AsyncResult(value[0][0]).get(timeout=10) == 4


def test_asynchronous_methods_are_native(app: Any) -> None:
    add = app.tasks["add"]
    several = group([add.s(1, 1), add.s(2, 2)], app=app)()

    async def scenario() -> Any:
        result = add.delay(5, 5)
        value = await result.aget(timeout=10)
        await several.aget(timeout=10)
        state = await result.astate()
        progress = await several.aprogress()
        await result.aforget()
        return value, state, progress.total, await result.aexists()

    assert asyncio.run(scenario()) == (10, SUCCESS, 2, False)


def test_eager_result_has_asynchronous_methods() -> None:
    result = EagerResult("1", 42, "SUCCESS")
    failed = EagerResult("2", KeyError("x"), "FAILURE")

    async def scenario() -> Any:
        await result.aforget()
        return await result.aget(), await failed.aget(propagate=False)

    value, error = asyncio.run(scenario())
    assert value == 42
    assert error is failed.result


def test_then_is_called_for_set_when_all_ends_are_known(app: Any) -> None:
    seen: list[Any] = []
    app.backend.mark_as_done("then1", 1)
    made = app.ResultSet([app.AsyncResult("then1"), app.AsyncResult("then2")])
    made.then(seen.append)
    made.ready()
    assert seen == []
    app.backend.mark_as_done("then2", 2)
    assert made.ready()
    assert [list(each) for each in seen] == [list(made)]


def test_added_result_has_to_end_before_set_is_ready_again(app: Any) -> None:
    seen: list[str] = []
    app.backend.mark_as_done("added1", 1)
    made = app.ResultSet([app.AsyncResult("added1")])
    made.then(lambda _: seen.append("first"))
    made.get()
    assert seen == ["first"]
    made.add(app.AsyncResult("added2"))
    made.then(lambda _: seen.append("second"))
    assert seen == ["first"]
    app.backend.mark_as_done("added2", 2)
    made.get()
    assert seen == ["first", "second"]


def test_native_results_are_adopted(app: Any) -> None:
    parent = native_results.AsyncResult[Any]("parent", app)
    child = native_results.AsyncResult[Any]("child", app, parent=parent, ignored=True)
    members = native_groups.GroupResult("group", [child, native_results.AsyncResult[Any]("other", app)], parent, app)
    adopted = adopt(members, app)
    assert isinstance(adopted, app.GroupResult)
    assert adopted.id == "group"
    assert [each.id for each in adopted] == ["child", "other"]
    assert [each.ignored for each in adopted] == [True, False]
    assert adopted.parent == app.AsyncResult("parent")
    assert adopted[0].parent == app.AsyncResult("parent")
    assert isinstance(adopt(NativeSet([child], app), app), ResultSet)
    assert adopt(None, app) is None
    assert adopt(adopted, app) is adopted


def test_adopted_native_result_in_place_keeps_exception(app: Any) -> None:
    error = KeyError("x")
    state = TaskState("FAILURE", error, "tb", None, (), {"status": "FAILURE", "name": "fail"})
    adopted = adopt(native_results.EagerResult("1", app, state), app)
    assert isinstance(adopted, EagerResult)
    assert adopted.result is error
    assert (adopted.state, adopted.traceback, adopted.name) == ("FAILURE", "tb", "fail")


def test_adopted_native_result_knows_its_end(app: Any) -> None:
    native = native_results.AsyncResult[Any]("known", app)
    native.known = TaskState("SUCCESS", 3, None, None, ("next",), {"children": [[["next", None], None]]})
    adopted = adopt(native, app)
    assert isinstance(adopted, AsyncResult)
    assert adopted.get() == 3
    assert adopted.children == [app.AsyncResult("next")]
    assert adopted.known is not None
    assert adopted.known.children == ("next",)


def test_long_lineage_is_written_and_read(app: Any) -> None:
    written: Any = None
    for number in range(3000):
        written = ((str(number), written), None)
    assert adopt(app.AsyncResult("1"), app) == "1"
    made = result_from_tuple(written, app)
    assert len(made.lineage()) == 3000


def test_final_state_stays_whatever_it_is(app: Any) -> None:
    # Celery's backends let a failure be overwritten. The native store doesn't, so that a late worker changes nothing.
    app.backend.mark_as_failure("final", KeyError("x"))
    app.backend.mark_as_done("final", 3)
    assert app.AsyncResult("final").state == "FAILURE"


def test_backends_of_native_stores_are_known() -> None:
    for url in ("dynamodb://table", "s3://bucket", "gs://bucket", "azureblockblob://c", "sqlite:///file", "memory://"):
        kind, found = backends.by_url(url, Celery(set_as_current=False).loader)
        assert issubclass(kind, StoreBackend)
        assert found == url


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://localhost", "redis.RedisBackend"),
        ("sentinel://localhost", "redis.SentinelBackend"),
        ("rpc://", "rpc.RPCBackend"),
        ("db+sqlite:///file", "database.DatabaseBackend"),
        ("mongodb://", "mongodb.MongoBackend"),
        ("file:///x", "filesystem.FilesystemBackend"),
        ("arangodb://", "arangodb.ArangoDbBackend"),
        ("cassandra://", "cassandra.CassandraBackend"),
        ("cosmosdbsql://", "cosmosdbsql.CosmosDBSQLBackend"),
        ("couchbase://", "couchbase.CouchbaseBackend"),
        ("couchdb://", "couchdb.CouchBackend"),
        ("elasticsearch://", "elasticsearch.ElasticsearchBackend"),
    ],
)
def test_backends_have_celerys_paths(url: str, name: str) -> None:
    kind, _ = backends.by_url(url, Celery(set_as_current=False).loader)
    assert f"{kind.__module__}.{kind.__qualname__}" == f"taskq_cloud.celery.backends.{name}"
    module, _, attribute = name.partition(".")
    assert hasattr(importlib.import_module(f"celery.backends.{module}"), attribute)


def test_unknown_backend_of_celery_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"Unknown result backend: .*Did you spell that correctly.*dynamodb"):
        backends.by_url("consul://localhost", Celery(set_as_current=False).loader)


def test_backend_derived_from_celerys_is_refused() -> None:
    class Foreign(celery.backends.base.BaseBackend):  # type: ignore[misc]
        pass

    with pytest.raises(ImproperlyConfigured, match=r"derive it from taskq_cloud.celery.backends.base.BaseBackend"):
        backends.by_name(Foreign, Celery(set_as_current=False).loader)


def test_backend_of_users_own_is_used() -> None:
    class Own(BaseBackend):
        def _get_task_meta_for(self, task_id: Any) -> Any:
            return {"status": "SUCCESS", "result": f"value of {task_id}"}

    app = Celery(backend=Own, set_as_current=False)
    assert isinstance(app.backend, Own)
    assert app.AsyncResult("1").get() == "value of 1"


def test_results_without_backend_can_not_be_read() -> None:
    app = Celery(set_as_current=False)
    assert isinstance(app.backend, DisabledBackend)
    for read in (app.AsyncResult("1").get, app.AsyncResult("1").ready, lambda: app.AsyncResult("1").state):
        with pytest.raises(NotImplementedError, match="No result backend is configured"):
            read()


def test_timeout_is_celerys_and_pythons(app: Any) -> None:
    with pytest.raises(exceptions.TimeoutError) as caught:
        app.AsyncResult("never").get(timeout=0.01)
    assert isinstance(caught.value, errors.TimeoutError)
    assert isinstance(caught.value, TimeoutError)


def test_counted_member_of_chord_sends_its_body(app: Any) -> None:
    body = app.tasks["total"].s().set(task_id="body-of-marked")
    header = app.GroupResult("marked", [app.AsyncResult("marked1"), app.AsyncResult("marked2")])
    app.backend.apply_chord((header.id, list(header)), body)
    for number, member in enumerate(header):
        request = Context(id=member.id, task="add", group="marked", group_index=number, chord=dict(body), args=[])
        app.backend.mark_as_done(member.id, number + 1, request=request)
    assert app.AsyncResult("body-of-marked").get(timeout=10) == 3
