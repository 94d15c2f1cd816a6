"""The commands on SQS, whose queues have to exist: what is missing is named, and hides nothing that is there."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

TaskQCommand = Callable[..., Result]


@pytest.fixture
def sqs(aws_environment: dict[str, str], shop: str) -> tuple[str, ...]:
    """The options that lead to the stack."""
    region = aws_environment["AWS_DEFAULT_REGION"]
    return ("-A", shop, "-b", f"sqs://{region}/", "--results", "sqlite:///results.db")


def test_a_missing_queue_is_one_line_that_names_it(taskq: TaskQCommand, shop: str, sqs: tuple[str, ...]) -> None:
    result = taskq(*sqs, "call", f"{shop}.forget", "-Q", "no-such-queue")
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "no-such-queue" in line


def test_a_missing_queue_hides_no_other(
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


def test_dead_letters_are_counted_where_there_is_a_queue_of_them(
    taskq: TaskQCommand, shop: str, sqs: tuple[str, ...], make_queue: Callable[..., str]
) -> None:
    queue = make_queue("failing")
    dead = make_queue(f"{queue}-dead", exactly=True)
    assert taskq(*sqs, "call", f"{shop}.forget", "-Q", dead).exit_code == 0
    (row,) = json.loads(taskq(*sqs, "queues", "-Q", queue, "--json").stdout)
    assert (row["waiting"], row["dead_letters"]) == (0, 1)


def test_purge_works_where_the_provider_says_no_number(
    taskq: TaskQCommand, shop: str, sqs: tuple[str, ...], make_queue: Callable[..., str]
) -> None:
    queue = make_queue("full")
    assert taskq(*sqs, "call", f"{shop}.forget", "-Q", queue).exit_code == 0
    result = taskq(*sqs, "purge", "-f", "-Q", queue)
    assert (result.exit_code, result.stdout) == (0, f"{queue}: all messages removed\n")
