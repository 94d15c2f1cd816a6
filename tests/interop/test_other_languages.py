"""Clients of Celery in JavaScript, and a program in Go, share queues on Redis and RabbitMQ with this package."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from emulators.process import wait_or_kill
from taskq_cloud import TaskQ
from taskq_cloud.errors import TaskError
from tests.docs.projects import environment_for, write_project
from tests.docs.test_other_languages_page import GO_SOURCES, NODE_MODULES, output_of, require

pytestmark = pytest.mark.slow

SECONDS: Final = 20
GO_PACKAGES: Final = [GO_SOURCES / "src/github.com" / name for name in ("gomodule/redigo", "streadway/amqp")]

# node-celery takes any version of the package redis, and works up to version 3, whose interface ioredis has.
OLD_REDIS: Final = """
const Module = require("module");
const load = Module._load;
Module._load = (name, parent, ...rest) =>
  name === "redis"
    ? { createClient: (port, host) => new (require("ioredis"))(port, host) }
    : load(name, parent, ...rest);
"""
NODE_CELERY: Final = """
const [broker, results, queue] = process.argv.slice(2);
const client = require("node-celery").createClient({
  BROKER_URL: broker, RESULT_BACKEND: results, DEFAULT_QUEUE: queue,
});
client.on("error", (error) => { console.error(error); process.exit(1); });
client.on("connect", () => {
  const result = client.call("shop.add", [2, 3], null, {}, (found) => {
    console.log(result.taskid, found.result);
    process.exit(0);
  });
});
"""


@dataclass
class Shop:
    """The page's project, an application that calls its tasks, and a worker that runs them.

    Attributes:
        broker: the broker's URL, as the clients of other languages take it.
        results: the URL of Redis.
    """

    folder: Path
    broker: str
    results: str
    queue: str
    app: TaskQ
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, name: str, command: list[str], **settings: str) -> None:
        """Start a program that runs until the end of the test, and logs to a file of this name."""
        with (self.folder / f"{name}.log").open("wb") as log:
            environment = environment_for(self.folder, settings)
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env=environment)
        self.processes.append(process)

    def run(self, *command: str) -> list[str]:
        """Run a program, and return the words that it prints."""
        return output_of(list(command), self.folder, {"NODE_PATH": str(NODE_MODULES)}).split()


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def shop(
    request: pytest.FixtureRequest, server_url: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    broker, results = server_url(request.param), server_url("redis")
    native = f"{broker}/0?layout=celery" if request.param == "redis" else broker
    folder, queue = tmp_path_factory.mktemp(request.param), f"work-{uuid4().hex}"
    write_project("other-languages.md", folder)
    app = TaskQ("caller", broker=native, results=results)
    made = Shop(folder, broker, results, queue, app)
    worker = [sys.executable, "-m", "taskq_cloud", "worker", "-A", "shop", "-Q", queue, "-P", "threads"]
    made.start("worker", worker, TASKQ_BROKER=native, TASKQ_RESULTS=results)
    assert app.send_task("shop.add", (1, 1), queue=queue).get(timeout=SECONDS) == 2
    yield made
    for process in made.processes:
        process.terminate()
        wait_or_kill(process, SECONDS)
    app.close()


@pytest.fixture
def node(shop: Shop) -> None:
    require(shutil.which("node") is not None and (NODE_MODULES / "celery-node").exists(), "make servers has not run")
    (shop.folder / "old-redis.cjs").write_text(OLD_REDIS)
    (shop.folder / "node-celery.cjs").write_text(NODE_CELERY)


@pytest.mark.usefixtures("node")
def test_caller_of_celery_node_gets_the_result_of_our_worker(shop: Shop) -> None:
    task_id, value = shop.run("node", "call.cjs", shop.broker, shop.results, shop.queue)
    assert value == "5"
    assert shop.app.AsyncResult(task_id).get(timeout=1) == 5


@pytest.mark.usefixtures("node")
def test_worker_of_celery_node_runs_our_calls(shop: Shop) -> None:
    queue = f"thumbnails-{shop.queue}"
    shop.start("serve", ["node", "serve.cjs", shop.broker, shop.results, queue], NODE_PATH=str(NODE_MODULES))
    made = shop.app.send_task("thumbnails.make", ("a.png",), {"width": 300}, queue=queue)
    failed = shop.app.send_task("thumbnails.fail", queue=queue)
    assert made.get(timeout=SECONDS) == "made 300/a.png"
    with pytest.raises(TaskError):
        failed.get(timeout=SECONDS)
    assert failed.state == "FAILURE"


@pytest.mark.usefixtures("node")
def test_caller_of_node_celery_gets_the_result_of_our_worker(shop: Shop) -> None:
    program = ["node", "-r", "./old-redis.cjs", "node-celery.cjs"]
    task_id, value = shop.run(*program, shop.broker, shop.results, shop.queue)
    assert value == "5"
    assert shop.app.AsyncResult(task_id).get(timeout=1) == 5


def test_message_of_a_program_in_go_is_run_by_our_worker(shop: Shop) -> None:
    require(shutil.which("go") is not None and all(each.exists() for each in GO_PACKAGES), "make servers has not run")
    go = {"GO111MODULE": "off", "GOPATH": str(GO_SOURCES), "GOFLAGS": "-p=2", "GOCACHE": str(shop.folder.parent / "go")}
    output_of(["go", "build", "-o", "call", "call.go"], shop.folder, {**go, "HOME": str(shop.folder)})
    [task_id] = shop.run("./call", shop.broker, shop.queue)
    assert shop.app.AsyncResult(task_id).get(timeout=SECONDS) == 5
