"""The demo as a user runs it, with fewer tasks; and what it says of a task that is lost."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from taskq_cloud.testing import local_stack

EXAMPLES = Path(__file__).parents[2] / "examples"
TIMEOUT_SECONDS = 110


@pytest.fixture
def demo_command(tmp_path):
    """The command, run in a folder of its own: ``subprocess`` arguments."""
    reason = local_stack.missing()
    if reason:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return {
        "cwd": tmp_path,
        "env": {**os.environ, "PYTHONPATH": str(EXAMPLES)},
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
    }


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
def test_every_call_comes_to_what_it_must(demo_command, tmp_path):
    finished = run(demo_command)

    text = finished.stdout
    assert finished.returncode == 0, text
    assert "42 of 42 messages accounted for, 0 not as expected" in text
    assert row(text, "resize_photo")[:6] == ["resize_photo", "lambda", "8", "8", "7", "1"]
    assert row(text, "publish_photo")[:6] == ["publish_photo", "lambda", "8", "11", "8", "0"]
    assert row(text, "charge_card")[:6] == ["charge_card", "container", "8", "11", "8", "0"]
    assert re.search(r"build_report +TimeLimitExceeded +1 +3", text)
    assert re.search(r"shop-images-dead +<photo>19.ppm</photo> +DecodeError", text)
    assert re.search(r"shop-orders-dead +\{.*\} +DecodeError", text)
    assert "40 items in the DynamoDB table shop-results" in text
    assert "ready: serves orders" in (tmp_path / ".demo" / "worker.log").read_text()
    assert "shop.images.publish_photo" in (tmp_path / ".demo" / "lambda.log").read_text()


@pytest.mark.slow
def test_a_lost_task_is_named_and_makes_it_fail(demo_command):
    finished = run(demo_command, "--lose-a-task")

    assert finished.returncode == 1, finished.stdout
    assert re.search(r"^LOST: shop\.orders\.send_receipt\[[0-9a-f-]{36}\]$", finished.stdout, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="which processes descend from the demo is read from /proc")
def test_it_ends_what_it_started_when_it_is_told_to_stop(demo_command, tmp_path):
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
