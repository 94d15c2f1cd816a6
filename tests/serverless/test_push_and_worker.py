"""Test workflows across a push endpoint and a worker process, with one Pub/Sub server and one store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud import ChordError, TaskQ, chain, chord
from taskq_cloud.core.model.message import Acknowledge
from tests.brokers.pubsub_server import PubSubServer
from tests.serverless.pushed_app import make_app
from tests.serverless.pushing import ACCOUNT, AUDIENCE, Issuer, envelope, post, served_by_wsgi

PROJECT = "test-project"
SUBSCRIPTION = f"projects/{PROJECT}/subscriptions/shop-celery"
ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 60


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TaskQ]:
    with PubSubServer(PROJECT) as server:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
        for name in ("celery", "crates"):
            server.make_queue(f"shop-{name}")
            server.make_queue(f"shop-{name}-dead")
        monkeypatch.setenv("PUSHED_BROKER", f"pubsub://{PROJECT}/shop-")
        monkeypatch.setenv("PUSHED_RESULTS", f"sqlite:///{tmp_path}/results.db")
        made = make_app()
        yield made
        made.close()


@pytest.fixture
def worker(app: TaskQ, tmp_path: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "taskq_cloud", "worker", "-A", "tests.serverless.pushed_app:app", "-Q", "crates"]
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "-P", "threads", "-c", "2"],
            cwd=ROOT,
            env={**os.environ, "PUSHED_PLACE": "worker"},
            stdout=log,
            stderr=log,
        )
    yield
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_SECONDS) == 0, (tmp_path / "worker.log").read_text()


@pytest.fixture
def ended(app: TaskQ, worker: None) -> Iterator[Callable[[Any], Any]]:
    """Push each message of the endpoint's queue twice, until a result is there."""
    issuer = Issuer()
    endpoint = app.pubsub_push_handler(audience=AUDIENCE, service_account=ACCOUNT, keys_url=issuer.url)
    with served_by_wsgi(endpoint) as url:

        def push_until(result: Any) -> Any:
            deadline = time.monotonic() + TIMEOUT_SECONDS
            while not result.ready():
                assert time.monotonic() < deadline, result.state
                for delivery in app.run(app.broker.receive("celery", 10, 0.1, 60)):
                    for attempt in (1, 2):
                        pushed = envelope(delivery.body, SUBSCRIPTION, attempt, messageId=delivery.message_id)
                        # The answer is 503 until the worker has sent a chord's body that it has claimed.
                        # Pub/Sub would push again.
                        while (status := post(url, pushed, issuer.token())[0]) == 503:
                            assert time.monotonic() < deadline, "pushes are answered 503"
                        assert status == 204
                    app.run(app.broker.settle([Acknowledge(delivery)]))
            return result

        yield push_until
    endpoint.close()
    issuer.close()


def test_workflows_run_across_endpoint_and_worker(app: TaskQ, ended: Callable[[Any], Any]) -> None:
    here, crates = app.signature("place"), app.signature("place", queue="crates")
    line = ended(chain(here, crates, here).delay())
    assert line.get(timeout=1) == [[["endpoint"], "worker"], "endpoint"]

    joined = ended(chain(crates, chord([here, crates, here], crates)).delay())
    members = [[["worker"], "endpoint"], [["worker"], "worker"], [["worker"], "endpoint"]]
    assert joined.get(timeout=1) == [members, "worker"]

    swapped = ended((app.signature("swap", queue="crates") | here).delay())
    assert swapped.get(timeout=1) == [[[["endpoint"], "worker"], "endpoint"], "endpoint"]


def test_chord_fails_when_a_member_fails_in_the_worker(app: TaskQ, ended: Callable[[Any], Any]) -> None:
    here, fail = app.signature("place"), app.signature("fail", queue="crates")
    failed = ended(chord([here, fail, here], here.link_error(app.signature("note", task_id="noted"))).delay())
    with pytest.raises(ChordError, match="no crates left"):
        failed.get(timeout=1)
    assert ended(app.AsyncResult("noted")).get(timeout=1) == [failed.id, "endpoint"]
