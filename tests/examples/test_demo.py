"""Tests of the demo, run as by a user but with fewer tasks, on several brokers and stores; and of a lost task."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emulators import aws, object_stores
from emulators.servers import SERVERS
from taskq_cloud.testing.waiting import until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PSTEST = ROOT / ".emulators" / "pstestd"
TIMEOUT_SECONDS = 110


@dataclass(frozen=True)
class Variant:
    """A broker and a result store, and the texts that the report must have for them."""

    broker: str
    results: str
    images_on: str
    dead_letters: str
    contents: str
    counted: tuple[str, ...]
    logs: tuple[str, ...]
    stack: str = "ministack"
    pool: str = "processes"

    def missing(self) -> str | None:
        reasons = {
            "sqs": aws.STACKS[self.stack].missing,
            "dynamodb": aws.STACKS[self.stack].missing,
            "s3": aws.STACKS[self.stack].missing,
            "pubsub": lambda: None if PSTEST.exists() else "Google's fake of Pub/Sub is not built: make emulators",
            "azureblob": object_stores.azurite_missing,
            "gs": object_stores.gcs_server_missing,
            **{name: kind.missing for name, kind in SERVERS.items()},
        }
        return next((reasons[name]() for name in (self.broker, self.results) if name in reasons), None)


STORES = "dynamodb, s3, azureblob, gs, redis, postgresql, mariadb, memcached, mongodb, elasticsearch, couchdb, sqlite"
CONTAINERS = ("worker-orders.log", "worker-images.log")
ON_AWS = Variant(
    broker="sqs",
    results="dynamodb",
    images_on="lambda",
    dead_letters="shop-{}-dead",
    contents="items in the DynamoDB table shop-results",
    counted=("SQS", "DynamoDB"),
    logs=("worker.log", "lambda.log"),
)
ON_LOCALSTACK = Variant(
    broker="sqs",
    results="s3",
    images_on="lambda",
    dead_letters="shop-{}-dead",
    contents="objects in the S3 bucket shop-results",
    counted=("SQS", "S3"),
    logs=("worker.log", "lambda.log"),
    stack="localstack",
)
VARIANTS = (
    ON_AWS,
    Variant(
        broker="pubsub",
        results="azureblob",
        images_on="container2",
        dead_letters="shop-{}-dead",
        contents="blobs in the Azure container shop-results",
        counted=("Blob Storage",),
        logs=CONTAINERS,
    ),
    Variant(
        broker="sqlite",
        results="gs",
        images_on="container2",
        dead_letters="{}-dead",
        contents="objects in the Google Cloud Storage bucket shop-results",
        counted=("Cloud Storage",),
        logs=CONTAINERS,
    ),
    Variant(
        broker="redis",
        results="postgresql",
        images_on="container2",
        dead_letters="{}-dead",
        contents="rows in PostgreSQL",
        counted=(),
        logs=CONTAINERS,
        pool="gevent",
    ),
    Variant(
        broker="rabbitmq",
        results="redis",
        images_on="container2",
        dead_letters="{}-dead",
        contents="keys in Redis",
        counted=(),
        logs=CONTAINERS,
    ),
    Variant(
        broker="postgresql",
        results="mariadb",
        images_on="container2",
        dead_letters="{}-dead",
        contents="rows in MariaDB",
        counted=(),
        logs=CONTAINERS,
        pool="threads",
    ),
)


@pytest.fixture
def demo_command(tmp_path: Path) -> dict[str, Any]:
    """``subprocess`` arguments that run the demo in a temporary folder, with the emulators of this repository."""
    folders = [ROOT / ".emulators", ROOT / ".emulators" / "node_modules" / ".bin", os.environ["PATH"]]
    return {
        "cwd": tmp_path,
        "env": {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "examples"), str(ROOT)]),
            "PATH": os.pathsep.join(map(str, folders)),
        },
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
    }


def require(variant: Variant) -> None:
    reason = variant.missing()
    if reason:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def run(command: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo", "--tasks", "40", "--deadline", "90", *arguments],
        timeout=TIMEOUT_SECONDS,
        check=False,
        **command,
    )


def row(text: str, first: str) -> list[str]:
    """The cells of the first table row that begins with ``first``."""
    found: list[str] = re.findall(rf"^ {first} .*$", text, re.MULTILINE)
    return found[0].split()


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: f"{variant.broker}-{variant.results}")
def test_every_call_has_the_expected_outcome(variant: Variant, demo_command: dict[str, Any], tmp_path: Path) -> None:
    check_demo(variant, demo_command, tmp_path)


@pytest.mark.second_stack
def test_every_call_has_the_expected_outcome_on_localstack(
    demo_command: dict[str, Any], tmp_path: Path, stack_name: str | None
) -> None:
    if stack_name != "localstack":
        pytest.skip("this run uses another stack: make test-localstack")
    (tmp_path / ".emulators").symlink_to(ROOT / ".emulators")
    check_demo(ON_LOCALSTACK, demo_command, tmp_path)


def check_demo(variant: Variant, demo_command: dict[str, Any], tmp_path: Path) -> None:
    """Run a variant, and check its report."""
    require(variant)

    where = ["--broker", variant.broker, "--results", variant.results, "--stack", variant.stack]
    finished = run(demo_command, *where, "--pool", variant.pool)

    text, on = finished.stdout, variant.images_on
    assert finished.returncode == 0, text
    assert "42 of 42 messages accounted for, 0 unexpected outcomes" in text
    assert row(text, "resize_photo")[:6] == ["resize_photo", on, "8", "8", "7", "1"]
    assert row(text, "publish_photo")[:6] == ["publish_photo", on, "8", "11", "8", "0"]
    assert row(text, "charge_card")[:6] == ["charge_card", "container", "8", "11", "8", "0"]
    assert re.search(r"build_report +TimeLimitExceeded +1 +3", text)
    for queue, body in (("images", "<photo>19.ppm</photo>"), ("orders", r"\{.*\}")):
        assert re.search(rf"^ {variant.dead_letters.format(queue)} +{body} +DecodeError", text, re.MULTILINE)
    assert f"40 {variant.contents}" in text
    counts = text.partition("Service calls")[2].partition("not counted")[0]
    assert tuple(re.findall(r"^ (\w[\w ]*?) +[1-9]\d* ", counts, re.MULTILINE)) == variant.counted
    orders_log, images_log = (tmp_path / ".demo" / name for name in variant.logs)
    assert "ready: serves orders" in orders_log.read_text()
    assert "shop.images.publish_photo" in images_log.read_text()


def test_lost_task_is_reported_and_makes_the_demo_fail(demo_command: dict[str, Any]) -> None:
    finished = run(demo_command, "--broker", "sqlite", "--results", "sqlite", "--lose-a-task")

    assert finished.returncode == 1, finished.stdout
    losses = re.findall(r"^LOST: (.*)\[[0-9a-f-]{36}\]$", finished.stdout, re.MULTILINE)
    assert losses == ["shop.orders.send_receipt"]
    assert "42 of 43 messages accounted for" in finished.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ("--broker", "etcd"),
            "the demo doesn't know a broker 'etcd'; choose one of sqs, pubsub, redis, rabbitmq, postgresql, sqlite\n",
        ),
        (
            ("--results", "etcd"),
            f"the demo doesn't know a result store 'etcd'; choose one of {STORES}\n",
        ),
    ],
)
def test_unknown_broker_or_store_is_refused_with_the_known_names(
    arguments: tuple[str, ...], line: str, demo_command: dict[str, Any]
) -> None:
    finished = run(demo_command, *arguments)

    assert (finished.returncode, finished.stdout) == (2, line)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--broker", "pubsub"), r"pubsub: Google's fake of Pub/Sub is not built: .*make demo.*\n"),
        (("--results", "azureblob"), r"azureblob: Azurite is not installed: .*npm.*\n"),
    ],
)
def test_missing_emulator_is_reported_with_install_instructions_before_anything_starts(
    arguments: tuple[str, ...], line: str, demo_command: dict[str, Any], tmp_path: Path
) -> None:
    demo_command["env"]["PATH"] = str(tmp_path)

    finished = run(demo_command, *arguments)

    assert finished.returncode == 2, finished.stdout
    assert re.fullmatch(line, finished.stdout)


@pytest.mark.skipif(not Path("/proc").exists(), reason="the test reads the demo's child processes from /proc")
def test_sigterm_stops_all_processes_that_the_demo_started(demo_command: dict[str, Any], tmp_path: Path) -> None:
    require(ON_AWS)
    with subprocess.Popen([sys.executable, "-m", "demo"], **demo_command) as demo:
        log = tmp_path / ".demo" / "worker.log"
        until(
            lambda: demo.poll() is not None or (log.exists() and "ready: serves" in log.read_text()),
            "the demo to start its worker",
            TIMEOUT_SECONDS,
        )
        started = descendants(demo.pid)
        demo.terminate()
        text, _ = demo.communicate(timeout=TIMEOUT_SECONDS)

    assert demo.returncode == 128 + signal.SIGTERM, text
    assert len(started) >= 4, "the stack, the worker, and the processes of the worker's pool"
    until(
        lambda: not started & {process_id for process_id, _ in processes()},
        "the processes to end",
        TIMEOUT_SECONDS,
    )


def processes() -> list[tuple[int, int]]:
    """The process id and the parent's id of each running process, without zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, *_ = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # the process ended meanwhile
        if state != "Z":
            found.append((int(path.parent.name), int(parent)))
    return found


def descendants(process_id: int) -> set[int]:
    """The ids of all descendants of a process."""
    pairs, found, before = processes(), {process_id}, 0
    while len(found) > before:
        before = len(found)
        found |= {child for child, parent in pairs if parent in found}
    return found - {process_id}
