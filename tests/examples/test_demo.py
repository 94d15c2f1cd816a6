"""The demo as a user runs it, with fewer tasks, on several infrastructures; and what it says of a task that is lost."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from taskq_cloud.testing import aws_stacks, emulators

ROOT = Path(__file__).parents[2]
PSTEST = ROOT / ".emulators" / "pstestd"
TIMEOUT_SECONDS = 110


@dataclass(frozen=True)
class Variant:
    """A broker and a result store, and what the report says of them."""

    broker: str
    results: str
    images_on: str
    dead_letters: str
    things: str
    counted: tuple[str, ...]
    logs: tuple[str, ...]
    stack: str = "ministack"

    def missing(self):
        reasons = {
            "sqs": aws_stacks.STACKS[self.stack].missing,
            "dynamodb": aws_stacks.STACKS[self.stack].missing,
            "s3": aws_stacks.STACKS[self.stack].missing,
            "pubsub": lambda: None if PSTEST.exists() else "Google's fake of Pub/Sub is not built: make emulators",
            "azureblob": emulators.azurite_missing,
            "gs": emulators.gcs_server_missing,
        }
        return next((reasons[name]() for name in (self.broker, self.results) if name in reasons), None)


CONTAINERS = ("worker-orders.log", "worker-images.log")
ON_AWS = Variant(
    broker="sqs",
    results="dynamodb",
    images_on="lambda",
    dead_letters="shop-{}-dead",
    things="items in the DynamoDB table shop-results",
    counted=("SQS", "DynamoDB"),
    logs=("worker.log", "lambda.log"),
)
ON_LOCALSTACK = Variant(
    broker="sqs",
    results="s3",
    images_on="lambda",
    dead_letters="shop-{}-dead",
    things="objects in the S3 bucket shop-results",
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
        things="blobs in the Azure container shop-results",
        counted=("Blob Storage",),
        logs=CONTAINERS,
    ),
    Variant(
        broker="sqlite",
        results="gs",
        images_on="container2",
        dead_letters="{}-dead",
        things="objects in the Google Cloud Storage bucket shop-results",
        counted=("Cloud Storage",),
        logs=CONTAINERS,
    ),
)


@pytest.fixture
def demo_command(tmp_path):
    """The command, run in a folder of its own, which finds the emulators of this one: ``subprocess`` arguments."""
    folders = [ROOT / ".emulators", ROOT / ".emulators" / "node_modules" / ".bin", os.environ["PATH"]]
    return {
        "cwd": tmp_path,
        "env": {**os.environ, "PYTHONPATH": str(ROOT / "examples"), "PATH": os.pathsep.join(map(str, folders))},
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
    }


def require(variant):
    reason = variant.missing()
    if reason:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def run(command, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "demo", "--tasks", "40", "--deadline", "90", *arguments],
        timeout=TIMEOUT_SECONDS,
        check=False,
        **command,
    )


def row(text, first):
    """The cells of the first table row that begins so."""
    return re.findall(rf"^ {first} .*$", text, re.MULTILINE)[0].split()


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: f"{variant.broker}-{variant.results}")
def test_every_call_comes_to_what_it_must(variant, demo_command, tmp_path):
    check_demo(variant, demo_command, tmp_path)


@pytest.mark.slow
@pytest.mark.second_stack
def test_so_it_does_on_the_other_stack(demo_command, tmp_path, stack_name):
    if stack_name != "localstack":
        pytest.skip("the run's stack is another: make test-localstack")
    (tmp_path / ".emulators").symlink_to(ROOT / ".emulators")
    check_demo(ON_LOCALSTACK, demo_command, tmp_path)


def check_demo(variant, demo_command, tmp_path):
    """Run a variant, and read its report."""
    require(variant)

    finished = run(demo_command, "--broker", variant.broker, "--results", variant.results, "--stack", variant.stack)

    text, on = finished.stdout, variant.images_on
    assert finished.returncode == 0, text
    assert "42 of 42 messages accounted for, 0 not as expected" in text
    assert row(text, "resize_photo")[:6] == ["resize_photo", on, "8", "8", "7", "1"]
    assert row(text, "publish_photo")[:6] == ["publish_photo", on, "8", "11", "8", "0"]
    assert row(text, "charge_card")[:6] == ["charge_card", "container", "8", "11", "8", "0"]
    assert re.search(r"build_report +TimeLimitExceeded +1 +3", text)
    for queue, body in (("images", "<photo>19.ppm</photo>"), ("orders", r"\{.*\}")):
        assert re.search(rf"^ {variant.dead_letters.format(queue)} +{body} +DecodeError", text, re.MULTILINE)
    assert f"40 {variant.things}" in text
    counts = text.partition("Service calls")[2].partition("not counted")[0]
    assert tuple(re.findall(r"^ (\w[\w ]*?) +[1-9]\d* ", counts, re.MULTILINE)) == variant.counted
    orders_log, images_log = (tmp_path / ".demo" / name for name in variant.logs)
    assert "ready: serves orders" in orders_log.read_text()
    assert "shop.images.publish_photo" in images_log.read_text()


@pytest.mark.slow
def test_a_lost_task_is_named_and_makes_it_fail(demo_command):
    finished = run(demo_command, "--broker", "sqlite", "--results", "sqlite", "--lose-a-task")

    assert finished.returncode == 1, finished.stdout
    losses = re.findall(r"^LOST: (.*)\[[0-9a-f-]{36}\]$", finished.stdout, re.MULTILINE)
    assert losses == ["shop.orders.send_receipt"]
    assert "42 of 43 messages accounted for" in finished.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--broker", "rabbitmq"), "the demo knows no broker 'rabbitmq'; there are sqs, pubsub, sqlite\n"),
        (
            ("--results", "redis"),
            "the demo knows no result store 'redis'; there are dynamodb, s3, azureblob, gs, sqlite\n",
        ),
    ],
)
def test_an_unknown_name_is_answered_with_those_there_are(arguments, line, demo_command):
    finished = run(demo_command, *arguments)

    assert (finished.returncode, finished.stdout) == (2, line)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--broker", "pubsub"), r"pubsub: Google's fake of Pub/Sub is not built: .*make demo.*\n"),
        (("--results", "azureblob"), r"azureblob: Azurite is not installed: .*npm.*\n"),
    ],
)
def test_a_missing_emulator_is_named_with_the_way_out_before_anything_starts(arguments, line, demo_command, tmp_path):
    demo_command["env"]["PATH"] = str(tmp_path)

    finished = run(demo_command, *arguments)

    assert finished.returncode == 2, finished.stdout
    assert re.fullmatch(line, finished.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="which processes descend from the demo is read from /proc")
def test_it_ends_what_it_started_when_it_is_told_to_stop(demo_command, tmp_path):
    require(ON_AWS)
    with subprocess.Popen([sys.executable, "-m", "demo"], **demo_command) as demo:
        log = tmp_path / ".demo" / "worker.log"
        wait_until(lambda: demo.poll() is not None or (log.exists() and "ready: serves" in log.read_text()))
        started = descendants(demo.pid)
        demo.terminate()
        text, _ = demo.communicate(timeout=TIMEOUT_SECONDS)

    assert demo.returncode == 128 + signal.SIGTERM, text
    assert len(started) >= 4, "the stack, the worker, and the processes of its pool"
    wait_until(lambda: not started & {process_id for process_id, _ in processes()})


def wait_until(condition):
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def processes():
    """Process id and parent's id of all that run; one that has ended and is only not yet waited for runs no more."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, *_ = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if state != "Z":
            found.append((int(path.parent.name), int(parent)))
    return found


def descendants(process_id):
    """The ids of a process's children, and theirs, and so on."""
    pairs, found, before = processes(), {process_id}, 0
    while len(found) > before:
        before = len(found)
        found |= {child for child, parent in pairs if parent in found}
    return found - {process_id}
