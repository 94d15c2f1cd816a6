"""Fixtures for the tests of brokers: Google's fake Pub/Sub server and our own."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from taskq_cloud.core.model.capabilities import dead_letter_queue
from tests.brokers.pubsub_server import PubSubServer

PSTEST = Path(__file__).parents[2] / ".emulators" / "pstestd"
PROJECT = "test-project"


@pytest.fixture(scope="session")
def pstest_host() -> Iterator[str]:
    """The address of Google's fake of Pub/Sub."""
    if not PSTEST.exists():
        reason = (
            "Google's fake of Pub/Sub is not built: make emulators (apt-get install golang-go golang-google-cloud-dev)"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with subprocess.Popen([PSTEST, "-address", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


@pytest.fixture
def pubsub_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PubSubServer]:
    """Our own server, to which this process's clients connect."""
    with PubSubServer(PROJECT) as server:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
        monkeypatch.setenv("CLOUD_TASKS_EMULATOR_HOST", server.host)
        yield server


@pytest.fixture
def make_pubsub_queue(pubsub_server: PubSubServer) -> Callable[..., str]:
    """A function that makes a queue and its dead-letter queue on our server, and returns the queue's unique name."""

    def make(name: str = "work", **options: object) -> str:
        stem, dot, suffix = name.partition(".fifo")
        queue = f"{stem}-{uuid4().hex[:8]}{dot}{suffix}"
        options = {"ordered": bool(dot), **options}
        pubsub_server.make_queue(dead_letter_queue(queue), **options)
        topic = f"projects/{pubsub_server.project}/topics/{dead_letter_queue(queue)}"
        pubsub_server.make_queue(queue, **{"dead_letter_topic": topic, **options})
        return queue

    return make
