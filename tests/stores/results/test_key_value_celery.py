"""Redis, memcached and a folder of files shared with Celery: its own backends and ours read each other's results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from celery import Celery
from celery.app.task import Context
from celery.backends.cache import CacheBackend
from celery.backends.filesystem import FilesystemBackend
from celery.backends.redis import RedisBackend
from kombu.transport.memory import Channel

from taskq_cloud import TaskQ
from taskq_cloud.core.payloads.compressed_results import CompressedResults
from taskq_cloud.core.records.record import FAILURE, FINAL_VERSION, RETRY, REVOKED, STARTED, SUCCESS, version_of
from taskq_cloud.errors import DecodeError
from taskq_cloud.stores.results.filesystem import FileResults
from taskq_cloud.stores.results.memcached import MemcachedResults
from taskq_cloud.stores.results.redis import RedisResults
from taskq_cloud.testing.contracts.result_store import a_record
from taskq_cloud.testing.driving import Drive, driving
from taskq_cloud.testing.waiting import until
from tests.celery_backend.celery_worker import make_chord, sent, start

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")]

SECONDS = 10
COMPRESSIONS = ("gzip", "bzip2", "lzma", "zstd")

Store: TypeAlias = RedisResults | MemcachedResults | FileResults


@dataclass
class Shared:
    """A place that both sides use.

    Args:
        store: our store.
        url: the store's URL.
        options: its options, which Celery has, too.
        make: makes Celery's backend for an application.
    """

    store: Store
    url: str
    options: dict[str, str]
    make: Callable[[Celery], Any]
    made: list[tuple[Any, Celery]] = field(default_factory=list)

    def celery(self, **conf: Any) -> Any:
        """Celery's backend, with further settings."""
        app = Celery("shop", set_as_current=False)
        app.conf.update(result_backend_transport_options=self.options, **conf)
        backend = self.make(app)
        self.made.append((backend, app))
        return backend

    def close(self) -> None:
        for backend, app in self.made:
            client = getattr(backend, "client", None)
            if isinstance(backend, RedisBackend):
                backend.result_consumer.stop()
            if client is not None:
                client.close()
            app.close()


@pytest.fixture(params=["redis", "memcached", "file"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shared]:
    options = {"global_keyprefix": uuid4().hex}
    url = request.getfixturevalue("server_url")(request.param) if request.param != "file" else tmp_path.as_uri()
    match request.param:
        case "redis":
            made = Shared(RedisResults([url], options), url, options, lambda app: RedisBackend(app=app, url=url))
        case "memcached":
            store = MemcachedResults([urlsplit(url).netloc], options)
            celerys = url.removeprefix("cache+")
            made = Shared(store, url, options, lambda app: CacheBackend(app=app, backend=celerys))
        case "file":
            made = Shared(FileResults(tmp_path, options), url, options, lambda app: FilesystemBackend(app=app, url=url))
    yield made
    made.close()


@pytest.fixture
def store(shared: Shared) -> Store:
    return shared.store


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, store: Store) -> Iterator[Drive]:
    with driving(request.param, store.services) as drive:
        yield drive


@pytest.fixture
def task() -> str:
    return str(uuid4())


@pytest.fixture
def app(shared: Shared) -> Iterator[TaskQ]:
    made = TaskQ("shop", broker="memory://", results=shared.url, result_backend_transport_options=shared.options)
    yield made
    made.close()


def result_at(backend: Any, task_id: str) -> Any:
    """Celery's result of a task."""
    return backend.app.AsyncResult(task_id, backend=backend)


def test_results_that_we_save_are_read_by_celery(shared: Shared, run: Drive) -> None:
    done, failed = (
        a_record(value={"größe": [1, 2.5, None]}),
        a_record(FAILURE, value={"exc_type": "ValueError", "exc_message": ["too wide", 7], "exc_module": "builtins"}),
    )
    fenced = a_record(STARTED, fence=3)
    run(shared.store.save([done, failed, fenced]))

    backend = shared.celery()

    assert result_at(backend, done.id).get(timeout=SECONDS) == {"größe": [1, 2.5, None]}
    assert backend.get_state(failed.id) == "FAILURE"
    assert backend.get_result(failed.id).args == ("too wide", 7)
    assert backend.get_state(fenced.id) == "STARTED"
    results = [result_at(backend, each.id) for each in (done, failed)]
    assert backend.app.ResultSet(results).join(timeout=SECONDS, propagate=False)[0] == {"größe": [1, 2.5, None]}


def test_results_that_celery_saves_are_read_by_us(shared: Shared, run: Drive, task: str) -> None:
    backend = shared.celery(result_extended=True)
    request = Context(task="shop.add", args=[1], kwargs={}, retries=2, hostname="w@here", delivery_info={})
    backend.store_result(task, ["größe", 2], "SUCCESS", request=request)
    retried, failed = str(uuid4()), str(uuid4())
    backend.store_result(retried, ValueError("again"), "RETRY", request=request)
    backend.store_result(failed, ValueError("no", 7), "FAILURE")

    records = run(shared.store.load([task, retried, failed]))

    found = records[task]
    assert (found.id, found.state, found.version, found.fence) == (task, SUCCESS, FINAL_VERSION, 0)
    document = json.loads(found.payload)
    assert (document["result"], document["name"], document["worker"]) == (["größe", 2], "shop.add", "w@here")
    assert (records[retried].state, records[retried].version) == (RETRY, version_of(RETRY, 2))
    assert records[failed].state == FAILURE


def test_exceptions_of_either_side_are_raised_by_the_other(shared: Shared, app: TaskQ, task: str) -> None:
    shared.celery().store_result(task, ValueError("no", 7), "FAILURE")
    with pytest.raises(ValueError, match="no") as caught:
        app.AsyncResult(task).get(timeout=SECONDS)
    assert caught.value.args == ("no", 7)


def test_final_state_that_celery_saved_is_not_replaced(shared: Shared, run: Drive, task: str) -> None:
    shared.celery().store_result(task, "celery's", "SUCCESS")
    assert run(shared.store.save([a_record(SUCCESS, value="ours", id=task)])) == [False]
    assert json.loads(run(shared.store.load([task]))[task].payload)["result"] == "celery's"


@pytest.mark.parametrize("state", ["STARTED", "RETRY"])
def test_unfinished_state_that_celery_saved_is_replaced(shared: Shared, run: Drive, task: str, state: str) -> None:
    backend = shared.celery()
    backend.store_result(task, {"done": 1}, state)
    ours = a_record(SUCCESS, value="ours", id=task, fence=4)

    assert run(shared.store.save([ours])) == [True]
    assert run(shared.store.load([task])) == {task: ours}
    assert backend.get_result(task) == "ours"


def test_earlier_attempt_does_not_replace_celerys_later_one(shared: Shared, run: Drive, task: str) -> None:
    request = Context(task="shop.add", retries=3)
    shared.celery(result_extended=True).store_result(task, None, "STARTED", request=request)
    assert run(shared.store.save([a_record(STARTED, 2, id=task)])) == [False]
    assert run(shared.store.save([a_record(STARTED, 3, id=task)])) == [True]


def test_last_write_of_celery_stands_until_ours_is_final(shared: Shared, run: Drive, task: str) -> None:
    backend = shared.celery()
    run(shared.store.save([a_record(STARTED, 5, id=task, fence=9)]))
    backend.store_result(task, "celery's", "RETRY")
    found = run(shared.store.load([task]))[task]
    assert (found.state, found.version, found.fence) == (RETRY, version_of(RETRY, 0), 0)

    ours = a_record(SUCCESS, 1, value="ours", id=task)
    assert run(shared.store.save([ours])) == [True]
    backend.store_result(task, "too late", "STARTED")
    assert run(shared.store.load([task])) == {task: ours}


def test_revocation_that_celery_replaces_is_no_more(shared: Shared, run: Drive, task: str) -> None:
    """Celery replaces every state but SUCCESS. The lock under which ours was written is that of another document."""
    error = {"exc_type": "TaskRevokedError", "exc_message": ["revoked"], "exc_module": "celery.exceptions"}
    run(shared.store.save([a_record(REVOKED, value=error, id=task, fence=2**31 - 1)]))
    shared.celery().store_result(task, "ran after all", "SUCCESS")
    found = run(shared.store.load([task]))[task]
    assert (found.state, found.version, found.fence) == (SUCCESS, FINAL_VERSION, 0)


@pytest.mark.parametrize("shared", ["redis", "file"], indirect=True)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_compressed_results_go_both_ways(shared: Shared, run: Drive, task: str, compression: str) -> None:
    compressing = CompressedResults(shared.store, compression)
    started = a_record(STARTED, 1, id=task, fence=2, expires_at=4e9)
    ended = a_record(value="ü" * 10_000, id=task, fence=2, expires_at=4e9)
    assert run(compressing.save([started])) == [True]
    assert run(shared.store.load([task])) == {task: started}
    assert run(compressing.save([a_record(STARTED, 0, id=task)])) == [False]
    assert run(compressing.save([ended])) == [True]
    assert run(compressing.save([a_record(FAILURE, id=task, fence=3)])) == [False]
    assert run(shared.store.load([task])) == {task: ended}

    backend = shared.celery(result_compression=compression)
    assert result_at(backend, task).get(timeout=SECONDS) == "ü" * 10_000
    theirs, begun = str(uuid4()), str(uuid4())
    backend.store_result(theirs, "x" * 10_000, "SUCCESS")
    backend.store_result(begun, "x" * 10_000, "STARTED")
    assert json.loads(run(shared.store.load([theirs]))[theirs].payload)["result"] == "x" * 10_000
    assert run(shared.store.save([a_record(id=theirs), a_record(id=begun)])) == [False, True]


def test_error_for_pickled_result_of_celery_names_task_and_setting(shared: Shared, run: Drive, task: str) -> None:
    backend = shared.celery(result_serializer="pickle", accept_content=["pickle"])
    backend.store_result(task, {1, 2}, "SUCCESS")

    with pytest.raises(DecodeError, match=task) as caught:
        run(shared.store.load([task]))
    assert "result_serializer" in str(caught.value)
    with pytest.raises(DecodeError, match=task):
        run(shared.store.save([a_record(id=task)]))


def test_forgotten_result_is_gone_on_the_other_side(shared: Shared, run: Drive, task: str) -> None:
    backend = shared.celery()
    run(shared.store.save([a_record(STARTED, id=task, fence=1)]))
    backend.forget(task)
    assert run(shared.store.load([task])) == {}
    backend.store_result(task, 1, "SUCCESS")
    run(shared.store.delete([task]))
    assert backend.get_state(task) == "PENDING"


@pytest.mark.parametrize("shared", ["redis"], indirect=True)
def test_waiting_caller_of_celery_is_told_of_our_result(shared: Shared, run: Drive, task: str) -> None:
    backend, found = shared.celery(), list[Any]()
    seen: list[str] = []
    result = result_at(backend, task)
    # Celery subscribes first, reads the state next, and calls `on_message` only after that.
    listening = threading.Event()
    waits = {
        "timeout": SECONDS,
        "interval": SECONDS,
        "on_interval": listening.set,
        "on_message": lambda meta: seen.append(meta["status"]),
    }
    waiting = threading.Thread(target=lambda: found.append(result.get(**waits)))
    waiting.start()
    assert listening.wait(SECONDS), "Celery's caller does not listen"

    run(shared.store.save([a_record(STARTED, id=task)]))
    run(shared.store.save([a_record(value=[7], id=task)]))

    waiting.join(SECONDS / 2)
    assert found == [[7]]
    assert seen == ["STARTED", "SUCCESS"]


@pytest.mark.parametrize("shared", ["redis"], indirect=True)
def test_our_waiting_caller_is_told_of_celerys_result(shared: Shared, app: TaskQ, task: str) -> None:
    backend, found = shared.celery(), list[Any]()
    result = app.AsyncResult(task)
    waiting = threading.Thread(target=lambda: found.append(result.get(timeout=SECONDS, interval=SECONDS)))
    waiting.start()
    channel = backend.get_key_for_task(task)
    with backend.client.client() as direct:
        until(lambda: dict(direct.pubsub_numsub(channel)).get(channel), "our caller to listen", SECONDS)

    backend.store_result(task, [7], "SUCCESS")

    waiting.join(SECONDS / 2)
    assert found == [[7]]


WORKER = """
import os
from celery import Celery

app = Celery("shop", broker=os.environ["SHOP_BROKER"], backend=os.environ["SHOP_RESULTS"])
options = {"global_keyprefix": os.environ["SHOP_PREFIX"]}
app.conf.update(
    broker_transport_options=options, result_backend_transport_options=options, result_extended=True,
    task_track_started=True, worker_enable_remote_control=False, broker_connection_retry_on_startup=True,
)

@app.task(bind=True, name="shop.add", max_retries=2)
def add(self, a, b):
    if self.request.retries < 1:
        raise self.retry(countdown=0.01)
    return a + b

@app.task(name="shop.fail")
def fail():
    raise ValueError("no", 7)
"""


@pytest.fixture
def celery_worker(
    shared: Shared, server_url: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """The application of a worker of Celery's, whose results are in the shared place."""
    folder = tmp_path_factory.mktemp("worker")
    (folder / "shop.py").write_text(WORKER)
    environment = {
        "SHOP_BROKER": server_url("redis"),
        "SHOP_RESULTS": shared.url,
        "SHOP_PREFIX": shared.options["global_keyprefix"],
    }
    command = [sys.executable, "-W", "ignore", "-m", "celery", "-A", "shop", "worker", "-P", "solo", "-l", "INFO"]
    log = (folder / "log").open("wb")
    worker = subprocess.Popen(command, cwd=folder, env={**os.environ, **environment}, stdout=log, stderr=log)
    app = Celery("shop", broker=environment["SHOP_BROKER"], set_as_current=False)
    app.conf.broker_transport_options = shared.options
    yield app
    worker.kill()
    worker.wait()
    log.close()
    app.close()


def test_results_of_a_worker_of_celery_are_read(app: TaskQ, celery_worker: Any) -> None:
    added, failed = (celery_worker.send_task(name, args) for name, args in (("shop.add", (2, 3)), ("shop.fail", ())))
    assert app.AsyncResult(added.id).get(timeout=3 * SECONDS, interval=0.05) == 5
    with pytest.raises(ValueError, match="no") as caught:
        app.AsyncResult(failed.id).get(timeout=3 * SECONDS, interval=0.05)
    assert caught.value.args == ("no", 7)
    document = json.loads(app.run(app.store.load([added.id]))[added.id].payload)
    assert (document["name"], document["retries"], document["args"]) == ("shop.add", 1, [2, 3])


def test_chord_of_celery_is_counted_by_the_shared_backend(shared: Shared, app: TaskQ) -> None:
    celery = Celery("shop", broker="memory://", backend=f"taskq+{shared.url}", set_as_current=False)
    celery.conf.result_backend_transport_options = shared.options

    def total(*values: int) -> int:
        return sum(values)

    for name in ("add", "total"):
        celery.task(name=name, shared=False)(total)
    celery.finalize()
    result, members = start(celery, make_chord(celery))
    for member in (members[0], members[0], members[2], members[1]):
        celery.backend.mark_as_done(member.id, sum(member.args), member)
    [(task, headers, args, _, _)] = sent(celery)
    assert (task, headers["id"], args) == ("total", result.id, [[0, 2, 4]])
    assert [app.AsyncResult(member.id).get(timeout=SECONDS) for member in members] == [0, 2, 4]
    celery.backend._taskq.close()
    celery.close()
    Channel.queues.clear()
