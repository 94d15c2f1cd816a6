"""Celery's result backend over our stores, used as Celery's workers and callers use it. No Celery worker runs."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest

from taskq_cloud import TaskQ

celery = pytest.importorskip("celery")
from celery.app.task import Context
from celery.backends.base import Backend
from celery.exceptions import ImproperlyConfigured

# -- results


def test_states_stored_by_celery_are_read_on_both_sides(app: Any, ours: TaskQ) -> None:
    backend = app.backend
    backend.store_result("a", {"pid": 1}, "STARTED")
    assert ours.AsyncResult("a").state == "STARTED"
    backend.mark_as_done("a", [1, {"b": 2}])
    assert ours.AsyncResult("a").get(timeout=1) == [1, {"b": 2}]
    backend.mark_as_failure("b", ValueError("no", 7), traceback="Traceback ...")
    with pytest.raises(ValueError, match="no") as caught:
        app.AsyncResult("b").get(timeout=1)
    assert caught.value.args == ("no", 7)
    assert ours.AsyncResult("b").traceback == "Traceback ..."
    assert app.AsyncResult("nowhere").state == "PENDING"


def test_final_state_and_later_attempt_are_not_replaced(app: Any) -> None:
    backend = app.backend
    backend.store_result("a", ValueError("1"), "RETRY", request=Context(id="a", retries=1))
    backend.store_result("a", {}, "STARTED", request=Context(id="a", retries=0))
    assert backend.get_state("a") == "RETRY"
    backend.mark_as_failure("a", ValueError("final"))
    backend.mark_as_done("a", 1)
    assert backend.get_state("a") == "FAILURE"


def test_many_results_are_read_in_pages_and_forgotten(app: Any) -> None:
    backend, ids = app.backend, [f"t{n}" for n in range(1100)]
    for task_id in ids:
        backend.mark_as_done(task_id, task_id)
    found = dict(backend.get_many(ids, timeout=0))
    assert {task_id: meta["result"] for task_id, meta in found.items()} == {each: each for each in ids}
    backend.forget("t0")
    assert backend.get_state("t0") == "PENDING"
    with pytest.raises(celery.exceptions.TimeoutError, match="1 results"):
        list(backend.get_many(["t0", "t1"], timeout=0))


def test_group_saved_by_celery_is_read_on_both_sides(app: Any, ours: TaskQ) -> None:
    group = app.GroupResult("g", [app.AsyncResult("a"), app.GroupResult("h", [app.AsyncResult("b")])])
    group.save()
    assert app.GroupResult.restore("g") == group
    for task_id in "ab":
        app.backend.mark_as_done(task_id, task_id)
    assert ours.GroupResult("g").get(timeout=1) == ["a", ["b"]]
    group.delete()
    assert app.GroupResult.restore("g") is None
    group.delete()


def test_large_result_is_read_where_its_bucket_is_configured(
    app: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, text = app.backend._taskq.store, "x" * 1000
    monkeypatch.setattr(type(store), "capabilities", replace(store.capabilities, largest_record_bytes=800))
    monkeypatch.setenv("TASKQ_PAYLOADS", "s3://bucket")
    monkeypatch.setenv("TASKQ_PAYLOAD_COMPRESSION", "zlib")
    with_bucket = celery.Celery("shop", backend=f"taskq+{url}", set_as_current=False)
    with_bucket.backend.mark_as_done("a", text)
    assert "compressed" in app.backend.get_result("a")
    assert with_bucket.backend.get_result("a") == text
    with_bucket.close()


def test_pickled_backend_keeps_url_and_expiry(app: Any) -> None:
    app.set_current()
    copy = pickle.loads(pickle.dumps(app.backend))
    assert copy.as_uri() == app.backend.as_uri()
    assert copy.expires == app.backend.expires


# -- refused settings


@pytest.mark.parametrize(
    ("backend", "settings", "reason"),
    [
        ("taskq://", {}, "doesn't name a store"),
        ("taskq+carrier-pigeon://localhost", {}, "no result store serves"),
        ("taskq+dynamodb://", {}, "doesn't name a table"),
        ("taskq+memory://", {}, "workers can't share memory://"),
        ("taskq+disabled://", {}, "workers can't share disabled://"),
        ("taskq+dynamodb://shop-results", {"result_serializer": "pickle"}, "result_serializer='pickle'"),
    ],
)
def test_wrong_setting_is_refused_when_celery_opens_the_backend(
    backend: str, settings: dict[str, Any], reason: str
) -> None:
    app = celery.Celery("shop", broker="memory://", backend=backend, set_as_current=False)
    app.conf.update(settings)
    with pytest.raises(ImproperlyConfigured, match=reason):
        assert isinstance(app.backend, Backend)


def test_error_hides_secrets_of_url() -> None:
    app = celery.Celery("shop", backend="taskq+azureblob://c?account_key=hush&key_format=celery", set_as_current=False)
    with pytest.raises(ImproperlyConfigured) as caught:
        assert isinstance(app.backend, Backend)
    assert "hush" not in str(caught.value)
