"""The result store in a cache of Django's settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.core.cache import caches

from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.records.record import FAILURE, STARTED, SUCCESS, Record
from taskq_cloud.errors import DecodeError, ImproperlyConfigured, OperationalError, Unreachable
from taskq_cloud.stores.results import django_cache
from taskq_cloud.stores.results.django_cache import DjangoCacheResults
from taskq_cloud.stores.results.registry import store_from_url
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract, a_record
from taskq_cloud.testing.driving import driving
from tests.stores.results.django_project import configured

pytestmark = pytest.mark.slow

_LOCAL = "django.core.cache.backends.locmem.LocMemCache"


@pytest.fixture(scope="module", autouse=True)
def project(server_url: Callable[[str], str]) -> Iterator[None]:
    """Django with a cache of this process, one in memcached, and one that keeps nothing."""
    memcached = server_url("memcached").rpartition("/")[2]
    settings = {
        "default": {"BACKEND": _LOCAL, "LOCATION": "taskq", "OPTIONS": {"MAX_ENTRIES": 100_000}},
        "memcached": {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": memcached},
        "dummy": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
    }
    with configured({}, CACHES=settings):
        yield


class TestDjangoCache(ResultStoreContract):
    @pytest.fixture
    def store(self, clock: FakeClock) -> DjangoCacheResults:
        caches["default"].clear()
        return DjangoCacheResults(clock=clock)


@pytest.fixture
def run() -> Iterator[Callable[[Any], Any]]:
    connections = Connections(DjangoCacheResults().services)
    yield connections.run
    connections.close()


def celery_app() -> Any:
    return Celery("shop", backend="django-cache", set_as_current=False)


def test_final_states_at_once_leave_one_in_memcached() -> None:
    store = DjangoCacheResults("memcached")
    record = a_record(STARTED)
    with driving("sync", store.services) as run:
        assert run(store.save([record])) == [True]
        finals = [a_record(SUCCESS if number % 2 else FAILURE, value=number, id=record.id) for number in range(8)]
        saved = run.together([store.save([each]) for each in finals])
        assert sorted(saved) == [[False]] * 7 + [[True]]
        assert run(store.load([record.id])) == {record.id: finals[saved.index([True])]}


def test_record_that_we_save_is_read_by_celery(run: Callable[[Any], Any]) -> None:
    error = {"exc_type": "ValueError", "exc_message": ["too wide"], "exc_module": "builtins"}
    done, failed = a_record(value={"größe": [1, None]}), a_record(FAILURE, value=error)
    run(DjangoCacheResults().save([done, failed]))

    app = celery_app()
    assert app.AsyncResult(done.id).get(timeout=5) == {"größe": [1, None]}
    with pytest.raises(ValueError, match="too wide"):
        app.AsyncResult(failed.id).get(timeout=5)
    app.close()


def test_results_that_celery_saves_are_read_by_us(run: Callable[[Any], Any]) -> None:
    app, store = celery_app(), DjangoCacheResults()
    app.backend.store_result("done", ["größe", 2], "SUCCESS")
    app.backend.store_result("failed", ValueError("too wide"), "FAILURE")
    app.backend.store_result("strange", object, "SUCCESS")
    app.close()

    records: dict[str, Record] = run(store.load(["done", "failed", "absent"]))

    assert {name: (each.state, each.final) for name, each in records.items()} == {
        "done": ("SUCCESS", True),
        "failed": ("FAILURE", True),
    }
    assert '"exc_type":"ValueError"' in records["failed"].payload.replace(" ", "")
    assert run(store.save([a_record(SUCCESS, id="done")])) == [False]
    with pytest.raises(DecodeError, match="strange"):
        run(store.load(["strange"]))


def test_lock_that_another_process_holds_is_waited_for(
    run: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = a_record()
    caches["default"].add(f"taskq-lock-celery-task-meta-{record.id}", "another", 60)
    monkeypatch.setattr(django_cache, "_LOCK_WAIT_SECONDS", 0.05)
    with pytest.raises(Unreachable, match="lock"):
        run(DjangoCacheResults().save([record]))
    assert caches["default"].get(f"taskq-lock-celery-task-meta-{record.id}") == "another"


def test_writer_that_was_too_slow_begins_anew(run: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(django_cache, "_WRITE_WITHIN_SECONDS", -1)
    monkeypatch.setattr(django_cache, "_LOCK_WAIT_SECONDS", 0.05)
    record = a_record()
    with pytest.raises(Unreachable):
        run(DjangoCacheResults().save([record]))
    assert run(DjangoCacheResults().load([record.id])) == {}


def test_chords_locks_and_rate_limits_are_refused(run: Callable[[Any], Any]) -> None:
    store = DjangoCacheResults()
    for flow in (
        lambda: store.join("j", "0", 1, None),
        lambda: store.claim("k", "me", 1),
        lambda: store.reserve("k", 1, 1),
    ):
        with pytest.raises(OperationalError, match="django-db"):
            run(flow())


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("django-cache://dummy", "keeps nothing"),
        ("django-cache://absent", "absent"),
        ("django-cache://default/path", "ALIAS"),
        ("django-cache://?timeout=3", "timeout"),
    ],
)
def test_cache_that_cannot_be_used_is_refused(url: str, said: str) -> None:
    def open_store() -> None:
        Connections(store_from_url(url, {}).services).open()

    with pytest.raises(ImproperlyConfigured, match=said):
        open_store()


def test_server_that_does_not_answer_is_unreachable(tmp_path: Path) -> None:
    settings = {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": f"unix:{tmp_path / 'nobody'}",
    }
    with configured({}, CACHES={"default": settings}):
        store = DjangoCacheResults()
        flow = store.load(["task"])
        connections = Connections(store.services)
        with pytest.raises(Unreachable, match="cache 'default'"):
            connections.run(flow, longest_seconds=0.1)
