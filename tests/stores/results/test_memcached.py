"""memcached as a result store, on real servers: the contract, several servers, and failures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from celery import Celery
from celery.backends.cache import CacheBackend
from pymemcache.client.base import Client

from emulators.process import Emulator
from taskq_cloud.core.records.record import STARTED
from taskq_cloud.errors import DecodeError, OperationalError, PayloadTooLarge, Unreachable
from taskq_cloud.stores.results.memcached import LARGEST_RECORD_BYTES, MemcachedResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract, a_record, document
from taskq_cloud.testing.driving import Drive, driving
from taskq_cloud.testing.waiting import until
from tests.servers import require_server

pytestmark = pytest.mark.slow

SECONDS = 10


@pytest.fixture
def address(server_url: Callable[[str], str]) -> str:
    return urlsplit(server_url("memcached")).netloc


@pytest.fixture
def prefix() -> str:
    return f"{uuid4().hex}:"


class TestMemcached(ResultStoreContract):
    @pytest.fixture
    def store(self, address: str, clock: FakeClock, prefix: str) -> MemcachedResults:
        return MemcachedResults([address], {"global_keyprefix": prefix}, clock=clock)


@pytest.fixture
def store(address: str, prefix: str) -> MemcachedResults:
    return MemcachedResults([address], {"global_keyprefix": prefix})


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, store: MemcachedResults) -> Iterator[Drive]:
    with driving(request.param, store.services) as drive:
        yield drive


@pytest.fixture
def direct(address: str) -> Iterator[Any]:
    """The server, by pymemcache."""
    client = Client(address, default_noreply=False)
    yield client
    client.close()


def own_memcached(*options: str) -> Emulator:
    require_server("memcached")

    def command(port: int) -> list[str]:
        return ["memcached", "-l", "127.0.0.1", "-p", str(port), "-u", "nobody", *options]

    return Emulator("memcached", command, "memcached://127.0.0.1:{port}")


@contextmanager
def using(*servers: Emulator) -> Iterator[tuple[MemcachedResults, Drive]]:
    store = MemcachedResults([urlsplit(each.url).netloc for each in servers])
    with driving("sync", store.services) as drive:
        yield store, drive


def test_expired_values_are_removed_by_the_server(
    store: MemcachedResults, run: Drive, direct: Any, prefix: str
) -> None:
    record = a_record(expires_at=time.time() - 4)
    run(store.save([record]))
    run(store.claim("a-lock", "me", 60))
    assert run(store.load([record.id])) == {}
    until(lambda: direct.get(f"{prefix}celery-task-meta-{record.id}") is None, "the value to expire", SECONDS)
    assert direct.get(f"{prefix}taskq-claim-a-lock") is not None
    assert run(store.save([record])) == [True]


def test_document_is_celerys_with_one_key_more(store: MemcachedResults, run: Drive, direct: Any, prefix: str) -> None:
    record = a_record(STARTED, 1, value="größe", fence=2, expires_at=4e9)
    run(store.save([record]))
    kept = direct.get(f"{prefix}celery-task-meta-{record.id}").decode()
    fields = '"taskq":{"state":"STARTED","version":"2","fence":"2","expires":"4000000000.0"}'
    assert kept == f"{document('größe', STARTED, record.id)[:-1]},{fields}}}"


def test_results_on_several_servers_are_where_celery_looks(
    store: MemcachedResults, address: str, own_server: Callable[[str], Emulator], prefix: str
) -> None:
    servers = [address, urlsplit(own_server("memcached").url).netloc]
    both = MemcachedResults(servers, {"global_keyprefix": prefix})
    records = [a_record(value=number) for number in range(40)]
    with Celery("shop", set_as_current=False) as app:
        app.conf.result_backend_transport_options = {"global_keyprefix": prefix}
        backend = CacheBackend(app=app, backend=f"memcached://{';'.join(servers)}/")
        with driving("sync", both.services) as run:
            run(both.save(records))
            assert run(both.load([each.id for each in records])) == {each.id: each for each in records}
            assert [backend.get_result(each.id) for each in records] == list(range(40))
            theirs = [str(uuid4()) for _ in range(20)]
            for each in theirs:
                backend.store_result(each, 7, "SUCCESS")
            assert set(run(both.load(theirs))) == set(theirs)
            run(both.delete([each.id for each in records]))
            assert run(both.load([each.id for each in records])) == {}
        backend.client.close()
    with driving("sync", store.services) as run:
        assert 0 < len(run(store.load(theirs))) < 20


def test_server_that_is_killed_forgets_and_is_used_again(own_server: Callable[[str], Emulator]) -> None:
    server = own_server("memcached")
    record = a_record()
    with using(server) as (store, run):
        run.together([store.save([a_record()]) for _ in range(8)])  # several connections
        run(store.save([record]))
        server.kill()
        with pytest.raises(Unreachable, match=f"memcached 127.0.0.1:{server.port}"):
            run(store.load([record.id]))
        server.start()
        assert run(store.load([record.id])) == {}
        assert run(store.save([record])) == [True]
        assert run(store.join("a-join", "0", 1, None))


def test_largest_record_fits_into_a_server_with_its_defaults() -> None:
    with own_memcached() as server, using(server) as (store, run):
        beginning = '{"status":"SUCCESS","result":"'
        payload = f'{beginning}{"x" * (LARGEST_RECORD_BYTES - len(beginning) - 2)}"}}'
        record = a_record(id="a" * 200, expires_at=4e9, fence=2**31 - 1)
        record = type(record)(record.id, record.state, record.version, payload, record.expires_at, record.fence)
        assert run(store.save([record])) == [True]
        assert run(store.load([record.id])) == {record.id: record}


def test_value_that_a_server_refuses_is_too_large() -> None:
    with own_memcached("-I", "512k") as server, using(server) as (store, run):
        small, large = a_record(), a_record(value="x" * 700_000)
        answers = run(store.save_each([large, small]))
        assert isinstance(answers[0], PayloadTooLarge)
        assert "option -I" in str(answers[0])
        assert answers[1] is True


def test_full_memory_of_a_server_that_drops_nothing_is_a_clear_error() -> None:
    with own_memcached("-M", "-m", "8") as server, using(server) as (store, run):
        records = [a_record(value="x" * 900_000) for _ in range(12)]
        answers = run(store.save_each(records))
        refused = next(each for each in answers if isinstance(each, Exception))
        assert isinstance(refused, Unreachable)
        assert "more memory (-m)" in str(refused)


def test_other_server_at_the_port_is_a_clear_error(server_url: Callable[[str], str]) -> None:
    store = MemcachedResults([urlsplit(server_url("redis")).netloc])
    with driving("sync", store.services) as run, pytest.raises(OperationalError, match=r"memcached 127\.0\.0\.1"):
        run(store.load(["A"]))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1]", b'{"status": "STARTED"', b'{"a":1,"taskq":{}}'])
def test_malformed_document_is_an_error(
    store: MemcachedResults, run: Drive, direct: Any, prefix: str, content: bytes
) -> None:
    record = a_record()
    direct.set(f"{prefix}celery-task-meta-{record.id}", content)
    with pytest.raises(DecodeError):
        run(store.load([record.id]))
    with pytest.raises(DecodeError):
        run(store.save([record]))
