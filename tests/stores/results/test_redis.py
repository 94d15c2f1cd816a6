"""Redis as a result store, on a real server: the contract, what Redis keeps, and failures."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
import redis as redis_py

from emulators.process import Emulator
from taskq_cloud.core.flows import Call, Flow, Sleep
from taskq_cloud.core.flows import run as drive
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.records.record import FAILURE, FENCE_KEPT_SECONDS, RETRY, REVOKED, STARTED
from taskq_cloud.errors import (
    AccessDenied,
    DecodeError,
    ImproperlyConfigured,
    OperationalError,
    PayloadTooLarge,
    Unreachable,
)
from taskq_cloud.stores.results import redis
from taskq_cloud.stores.results.redis import RedisResults
from taskq_cloud.stores.results.registry import store_from_url
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract, a_record
from taskq_cloud.testing.driving import Drive, driving
from taskq_cloud.testing.waiting import until
from tests.stores.recorder import Recorder

pytestmark = pytest.mark.slow

SECONDS = 10
DAY = 86_400


@pytest.fixture
def prefix() -> str:
    return f"{uuid4().hex}:"


class TestRedis(ResultStoreContract):
    @pytest.fixture
    def store(self, server_url: Callable[[str], str], clock: FakeClock, prefix: str) -> RedisResults:
        return RedisResults([server_url("redis")], {"global_keyprefix": prefix}, clock=clock)


@pytest.fixture
def store(server_url: Callable[[str], str], prefix: str) -> RedisResults:
    """A store that goes by the server's clock."""
    return RedisResults([server_url("redis")], {"global_keyprefix": prefix})


@pytest.fixture
def direct(server_url: Callable[[str], str]) -> Iterator[Any]:
    """The server, by redis-py."""
    with redis_py.Redis.from_url(server_url("redis")) as client:
        yield client


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, store: RedisResults) -> Iterator[Drive]:
    with driving(request.param, store.services) as drive:
        yield drive


# What Redis keeps


def test_final_record_is_one_key_with_celerys_document(
    store: RedisResults, run: Drive, direct: Any, prefix: str
) -> None:
    record = a_record(value="größe", expires_at=float(int(time.time()) + DAY))
    run(store.save([a_record(STARTED, id=record.id), record]))
    key = f"{prefix}celery-task-meta-{record.id}"
    assert list(direct.scan_iter(f"{prefix}*")) == [key.encode()]
    assert direct.get(key).decode() == record.payload
    assert direct.expiretime(key) == record.expires_at


@pytest.mark.parametrize(
    "record",
    [a_record(STARTED, 1), a_record(RETRY), a_record(REVOKED, fence=2**31 - 1), a_record("PROGRESS", fence=2)],
    ids=["started", "retried", "fenced", "custom"],
)
def test_fields_that_a_document_lacks_are_in_its_companion(
    store: RedisResults, run: Drive, direct: Any, prefix: str, record: Any
) -> None:
    run(store.save([record]))
    companion = direct.get(f"{prefix}taskq-meta-{record.id}").decode().split(" ")
    assert companion[1:] == [str(record.version), str(record.fence), "None", record.state]
    assert run(store.load([record.id])) == {record.id: record}
    run(store.delete([record.id]))
    assert list(direct.scan_iter(f"{prefix}*")) == []


def test_expired_record_is_removed_by_redis(store: RedisResults, run: Drive, direct: Any, prefix: str) -> None:
    record = a_record(STARTED, expires_at=time.time() + 0.2)
    run(store.save([record]))
    run(store.join("a-join", "0", 2, time.time() + 0.2))
    assert run(store.load([record.id])) == {record.id: record}
    until(lambda: list(direct.scan_iter(f"{prefix}*")) == [], "the keys to expire", SECONDS)
    assert run(store.load([record.id])) == {}
    assert not run(store.join("a-join", "1", 2, None))


def test_locks_and_slots_go_by_the_servers_time(store: RedisResults, run: Drive, direct: Any, prefix: str) -> None:
    assert run(store.claim("a-lock", "me", 60)) == 1
    assert run(store.claim("a-lock", "you", 60)) is None
    kept = direct.ttl(f"{prefix}taskq-claim-a-lock")
    assert FENCE_KEPT_SECONDS + 50 <= kept <= FENCE_KEPT_SECONDS + 60
    seconds, microseconds = direct.time()
    first, second = (run(store.reserve("a-rate", 100, 5)) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first == pytest.approx(seconds + microseconds / 1e6 - 5, abs=2)
    assert second - first == pytest.approx(100)
    assert 190 <= direct.ttl(f"{prefix}taskq-rate-a-rate") <= 201


@pytest.mark.parametrize("interval", [1 / 3, 1e-6, 1 / 7_000, 86_400.0])
def test_slots_are_never_closer_than_an_interval(store: RedisResults, run: Drive, interval: float) -> None:
    slots = run.together([store.reserve("a-rate", interval, 0) for _ in range(10)])
    microseconds = sorted(round(slot * 1e6) for slot in slots)
    apart = [later - earlier for earlier, later in pairwise(microseconds)]
    assert min(apart) >= interval * 1e6


def test_many_records_are_saved_by_few_scripts(
    store: RedisResults, run: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "_TOGETHER", 100)
    monkeypatch.setattr(redis, "_BYTES_TOGETHER", 50_000)
    records = [a_record(value="x" * (9_000 if number % 50 == 0 else 10)) for number in range(450)]
    recorder = Recorder(lambda call: run(answered(call)))
    assert drive(store.save(records), recorder) == [True] * 450
    assert 5 <= len(recorder.calls) <= 8
    assert run(store.load([record.id for record in records])) == {record.id: record for record in records}


def answered(call: Call) -> Flow[Any]:
    return (yield call)


def test_record_that_is_too_large_costs_no_other(
    store: RedisResults, run: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "LARGEST_RECORD_BYTES", 1000)
    first, large, last = a_record(), a_record(value="x" * 1000), a_record()
    saved, refused, saved_too = run(store.save_each([first, large, last]))
    assert (saved, saved_too) == (True, True)
    assert isinstance(refused, PayloadTooLarge)
    assert large.id in str(refused)
    assert run(store.save_each([first])) == [False]
    assert run(store.load([first.id, large.id, last.id])) == {first.id: first, last.id: last}


def test_listener_hears_the_end_of_its_task(store: RedisResults, run: Drive) -> None:
    mine, other = a_record(), a_record()
    listener = Listener()
    assert run(store.listen([mine.id], listener))
    run(store.save([other, mine]))
    assert run(waited(listener))
    assert listener.take() == [mine.id]
    listener.close()


def waited(listener: Listener) -> Flow[Any]:
    return (yield Sleep(SECONDS, listener))


def test_prefix_of_urls_options_is_celerys(server_url: Callable[[str], str]) -> None:
    options = {"global_keyprefix": "shop"}
    store = store_from_url(f"{server_url('redis')}/0", options)
    assert isinstance(store, RedisResults)
    assert store._document_key("A") == "shop_celery-task-meta-A"
    with pytest.raises(ImproperlyConfigured, match="global_keyprefix is a text, and not 7"):
        store_from_url("redis://", {"global_keyprefix": 7})


# Failures


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1]", b'{"result": 1}', b'{"status": "STARTED"'])
def test_malformed_document_is_an_error_that_names_the_task(
    store: RedisResults, run: Drive, direct: Any, prefix: str, content: bytes
) -> None:
    record = a_record()
    direct.set(f"{prefix}celery-task-meta-{record.id}", content)
    with pytest.raises(DecodeError):
        run(store.load([record.id]))
    with pytest.raises(DecodeError):
        run(store.save([record]))
    assert direct.get(f"{prefix}celery-task-meta-{record.id}") == content


def test_key_of_another_kind_is_left_alone(store: RedisResults, run: Drive, direct: Any, prefix: str) -> None:
    record = a_record()
    direct.rpush(f"{prefix}celery-task-meta-{record.id}", "mine")
    with pytest.raises(OperationalError, match="WRONGTYPE"):
        run(store.save([record]))
    assert direct.lrange(f"{prefix}celery-task-meta-{record.id}", 0, -1) == [b"mine"]


@pytest.fixture
def own_redis(own_server: Callable[[str], Emulator]) -> Emulator:
    return own_server("redis")


def configured(server: Emulator, **settings: Any) -> None:
    with redis_py.Redis.from_url(server.url) as client:
        for name, value in settings.items():
            client.config_set(name.replace("_", "-"), value)


def test_nothing_is_lost_when_the_server_is_killed(own_redis: Emulator) -> None:
    store = RedisResults([own_redis.url])
    done, running = a_record(), a_record(STARTED, 2, fence=4)
    with driving("sync", store.services) as run:
        run(store.save([done, running]))
        run(store.join("a-join", "0", 2, None))
        assert run(store.claim("a-lock", "me", 3600)) == 1
        slot = run(store.reserve("a-rate", 3600, 0))
        assert slot is not None

        own_redis.kill()
        with pytest.raises(Unreachable, match="the result store can't be used") as caught:
            run(store.save([a_record()]))
        assert own_redis.url.removeprefix("redis://") in str(caught.value)
        own_redis.start()

        assert run(store.load([done.id, running.id])) == {done.id: done, running.id: running}
        assert run(store.save([a_record(FAILURE, id=done.id)])) == [False]
        assert run(store.join("a-join", "1", 2, None))
        assert run(store.claim("a-lock", "you", 60)) is None
        assert run(store.reserve("a-rate", 3600, 0)) == pytest.approx(slot + 3600)


def test_full_memory_and_other_refusals_are_clear_errors(own_redis: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    url, secret = own_redis.url, "open-sesame"
    store = RedisResults([url])
    record = a_record(value="x" * 100_000)
    configured(own_redis, maxmemory=1)
    with driving("sync", store.services) as run:
        with pytest.raises(Unreachable, match="the server's memory is full: raise maxmemory"):
            run(store.save([record]))
        assert run(store.load([record.id])) == {}
        configured(own_redis, maxmemory=0)
        assert run(store.save([record])) == [True]

        with redis_py.Redis.from_url(url) as client:
            client.replicaof("127.0.0.1", "1")
        with pytest.raises(OperationalError, match="read-only replica: name the primary"):
            run(store.save([a_record()]))
        with redis_py.Redis.from_url(url) as client:
            client.replicaof("no", "one")
        assert run(store.load([record.id])) == {record.id: record}

    configured(own_redis, maxmemory="100mb", maxmemory_policy="volatile-lru")
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        with driving("sync", store.services) as run:
            run(store.load([record.id]))
    [warning] = [each.getMessage() for each in caplog.records if "maxmemory-policy" in each.getMessage()]
    assert "drops results before they expire" in warning

    with pytest.raises(OperationalError, match="a database that the server doesn't have"):
        attempt(RedisResults([f"{url}/99"]))
    configured(own_redis, requirepass=secret)
    with pytest.raises(AccessDenied, match="asks for a password"):
        attempt(store)
    wrong = url.replace("://", "://:wrong-password@")
    with pytest.raises(AccessDenied, match="check the user and the password") as caught:
        attempt(RedisResults([wrong]))
    assert "wrong-password" not in str(caught.value)
    assert attempt(RedisResults([url.replace("://", f"://:{secret}@")])) == {}


def attempt(store: RedisResults) -> Any:
    with driving("sync", store.services) as run:
        return run(store.load(["A"]))
