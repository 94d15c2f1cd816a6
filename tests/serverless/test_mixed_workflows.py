"""Test workflows across a function and a container: with real queues, a real function and a worker process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskq_cloud import TaskQ, chain, chord
from tests.serverless import test_on_aws
from tests.serverless.test_on_aws import TIMEOUT_SECONDS, MakeFunction

pytestmark = pytest.mark.slow

make_function = test_on_aws.make_function


@pytest.fixture
def mixed(
    make_function: MakeFunction,
    make_queue: Callable[..., str],
    aws_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[TaskQ]:
    """The callers' application. A function serves the queue ``work``, and a container the queue ``crates``."""
    # Every group is sent in pages, and the function sends some of them.
    monkeypatch.setenv("TASKQ_TASK_FAN_OUT_MEMBERS", "1")
    function = make_function()
    for name in ("crates-dead", "crates"):
        make_queue(f"{function.name.removesuffix('work')}{name}", exactly=True)
    assert function.app.conf.results is not None
    settings = {"TASKQ_BROKER": function.app.conf.broker, "TASKQ_RESULTS": function.app.conf.results}
    settings["TASKQ_TASK_DEFAULT_QUEUE"] = "work"
    env = {**os.environ, **aws_environment, **settings, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-m", "taskq_cloud", "worker", "-A", "shop", "-Q", "crates", "-P", "threads", "-c", "2"]
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    yield function.app
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(40) == 0, (tmp_path / "worker.log").read_text()


def test_chain_runs_across_function_and_container(mixed: TaskQ) -> None:
    places = mixed.signature("places")
    crates = mixed.signature("places", queue="crates")
    assert chain(places, crates, places).delay().get(TIMEOUT_SECONDS) == ["function", "container", "function"]


def test_chord_with_members_in_function_and_container_runs_its_body_in_either(mixed: TaskQ) -> None:
    places = mixed.signature("places")
    crates = mixed.signature("places", queue="crates")
    both = [["function"], ["container"]]
    assert chord([places, crates], places).delay().get(TIMEOUT_SECONDS) == [*both, "function"]
    assert chord([places, crates], crates).delay().get(TIMEOUT_SECONDS) == [*both, "container"]
    # The pages of a group that follows a task are stored by the function or worker that ends the task.
    longer = chain(crates, chord([places, crates, places], crates))
    expected = [["container", each] for each in ("function", "container", "function")]
    assert longer.delay().get(TIMEOUT_SECONDS) == [*expected, "container"]
