"""Commands on SQS, whose queues have to be created first: a missing queue is named, and other queues still work."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.cli.conftest import TaskQCommand


@pytest.fixture
def sqs(aws_environment: dict[str, str], shop: str) -> tuple[str, ...]:
    """The options that connect ``taskq`` to the local AWS stack."""
    region = aws_environment["AWS_DEFAULT_REGION"]
    return ("-A", shop, "-b", f"sqs://{region}/", "--results", "sqlite:///results.db")


def test_call_to_missing_queue_is_a_one_line_error_with_its_name(
    taskq: TaskQCommand, shop: str, sqs: tuple[str, ...]
) -> None:
    result = taskq(*sqs, "call", f"{shop}.forget", "-Q", "no-such-queue")
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "no-such-queue" in line


def test_queues_counts_existing_queues_beside_a_missing_one(
    taskq: TaskQCommand, shop: str, sqs: tuple[str, ...], make_queue: Callable[..., str]
) -> None:
    queue = make_queue("there")
    assert taskq(*sqs, "call", f"{shop}.forget", "-Q", queue).exit_code == 0
    result = taskq(*sqs, "queues", "-Q", f"no-such-queue,{queue}")
    assert result.exit_code == 1
    _, missing, there = result.stdout.splitlines()
    assert missing.split() == ["no-such-queue", "-", "-", "-", "-"]
    assert there.split() == [queue, "1", "0", "0", "-"]
    assert "no-such-queue" in result.stderr
    assert "Traceback" not in result.stderr


def test_queues_counts_dead_letters_if_the_dead_letter_queue_exists(
    taskq: TaskQCommand, shop: str, sqs: tuple[str, ...], make_queue: Callable[..., str]
) -> None:
    queue = make_queue("failing")
    dead = make_queue(f"{queue}-dead", exactly=True)
    assert taskq(*sqs, "call", f"{shop}.forget", "-Q", dead).exit_code == 0
    (row,) = json.loads(taskq(*sqs, "queues", "-Q", queue, "--json").stdout)
    assert (row["waiting"], row["dead_letters"]) == (0, 1)


def test_purge_works_without_a_count_from_the_provider(
    taskq: TaskQCommand, shop: str, sqs: tuple[str, ...], make_queue: Callable[..., str]
) -> None:
    queue = make_queue("full")
    assert taskq(*sqs, "call", f"{shop}.forget", "-Q", queue).exit_code == 0
    result = taskq(*sqs, "purge", "-f", "-Q", queue)
    assert (result.exit_code, result.stdout) == (0, f"{queue}: all messages removed\n")
