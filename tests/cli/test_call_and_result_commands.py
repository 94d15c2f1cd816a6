"""``taskq call`` and ``taskq result``, on SQLite."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from taskq_cloud.bootstrap.loading import find_app
from taskq_cloud.core.model.message import Message
from tests.cli.conftest import TaskQCommand


def depth(shop: str, queue: str = "celery") -> tuple[int, int]:
    app = find_app(shop)
    counted = app.run(app.broker.depth(queue))
    assert counted is not None
    return counted.waiting, counted.delayed


def work(taskq: TaskQCommand, shop: str) -> None:
    """Run all tasks in the queues."""
    result = taskq("worker", "-A", shop, "--pool", "solo", "--burst", "-q", "-l", "error")
    assert result.exit_code == 0, result.stderr


def test_call_prints_the_id_and_sends_the_task(taskq: TaskQCommand, shop: str) -> None:
    result = taskq("call", "-A", shop, f"{shop}.add", "-a", "[2, 3]")
    assert result.exit_code == 0, result.stderr
    task_id = result.stdout.strip()
    assert result.stderr == ""
    assert depth(shop) == (1, 0)
    work(taskq, shop)
    answer = taskq("result", "-A", shop, task_id)
    assert answer.exit_code == 0
    assert "SUCCESS" in answer.stdout
    assert "5" in answer.stdout


def test_call_takes_keyword_arguments_and_a_task_id(taskq: TaskQCommand, shop: str) -> None:
    result = taskq("-A", shop, "call", f"{shop}.add", "-a", "[2]", "-k", '{"y": 40}', "--task-id", "forty-two")
    assert result.stdout == "forty-two\n"
    work(taskq, shop)
    assert json.loads(taskq("-A", shop, "result", "forty-two", "--json").stdout)["result"] == 42


def test_call_with_countdown_or_eta_delays_the_message(taskq: TaskQCommand, shop: str) -> None:
    assert taskq("-A", shop, "call", f"{shop}.forget", "--countdown", "600").exit_code == 0
    tomorrow = (datetime.now(UTC) + timedelta(minutes=10)).isoformat()
    assert taskq("-A", shop, "call", f"{shop}.forget", "--eta", tomorrow).exit_code == 0
    assert depth(shop) == (0, 2)


def test_expired_task_is_revoked(taskq: TaskQCommand, shop: str) -> None:
    past = "2001-01-01T00:00:00"
    task_id = taskq("-A", shop, "call", f"{shop}.add", "-a", "[1, 1]", "--expires", past).stdout.strip()
    work(taskq, shop)
    answer = taskq("-A", shop, "result", task_id)
    assert answer.exit_code == 1
    assert "REVOKED" in answer.stdout


def test_call_sends_to_the_given_queue(taskq: TaskQCommand, shop: str) -> None:
    assert taskq("-A", shop, "call", f"{shop}.forget", "-Q", "mail").exit_code == 0
    assert depth(shop, "mail") == (1, 0)


def test_unregistered_task_is_sent_with_a_warning(taskq: TaskQCommand, shop: str) -> None:
    result = taskq("-A", shop, "call", "billing.charge", "-a", "[7]")
    assert result.exit_code == 0
    assert "'billing.charge' is not registered" in result.stderr
    assert depth(shop) == (1, 0)
    assert taskq("-A", shop, "-q", "call", "billing.charge").stderr == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-a", "[1,"], "is not JSON"),
        (["-a", "1"], "is not a JSON array; write for example"),
        (["-k", "[]"], "is not a JSON object; write for example"),
        (["--eta", "soon"], "2030-01-31T12:00:00Z"),
        (["--expires", "soon"], "2030-01-31T12:00:00Z"),
        (["-a", "[1, 2, 3]"], "too many positional arguments"),
        (["--wait", "nan"], "is not a number of seconds"),
        (["--wait", "inf"], "is not a number of seconds"),
        (["--countdown", "nan"], "is not a number of seconds"),
        (["-a", "[1, 2]", "--expires", "nan"], "expires must be a number of seconds"),
    ],
)
def test_malformed_option_is_a_usage_error_and_sends_nothing(
    taskq: TaskQCommand, shop: str, arguments: list[str], says: str
) -> None:
    result = taskq("-A", shop, "call", f"{shop}.add", *arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert depth(shop) == (0, 0)


def test_call_that_does_not_end_in_time_exits_with_2_and_prints_the_id(taskq: TaskQCommand, shop: str) -> None:
    result = taskq("-A", shop, "call", f"{shop}.add", "-a", "[1, 2]", "--task-id", "slow", "--wait", "0")
    assert result.exit_code == 2
    assert result.stdout == "slow\n"
    assert "PENDING" in result.stderr


def test_call_with_wait_but_without_result_store_sends_nothing(taskq: TaskQCommand, shop: str) -> None:
    result = taskq("-A", shop, "--results", "disabled://", "call", f"{shop}.add", "-a", "[1, 2]", "--wait", "1")
    assert result.exit_code == 1
    assert "TASKQ_RESULTS" in result.stderr
    assert depth(shop) == (0, 0)


def test_call_with_wait_does_not_wait_for_a_task_that_ignores_its_result(taskq: TaskQCommand, shop: str) -> None:
    result = taskq("-A", shop, "call", f"{shop}.forget", "--task-id", "gone", "--wait", "60")
    assert result.exit_code == 0
    assert result.stdout == "gone\n"
    assert "stores no result" in result.stderr


def test_call_with_wait_prints_the_result(taskq: TaskQCommand, shop: str) -> None:
    eager = {"TASKQ_TASK_ALWAYS_EAGER": "true"}
    good = taskq("-A", shop, "call", f"{shop}.add", "-a", "[1, 2]", "--wait", "5", env=eager)
    assert (good.exit_code, good.stdout) == (0, "3\n")


def test_call_with_wait_exits_with_1_for_a_failing_task(taskq: TaskQCommand, shop: str) -> None:
    eager = {"TASKQ_TASK_ALWAYS_EAGER": "true"}
    bad = taskq("-A", shop, "call", f"{shop}.fail", "-a", '["no paper"]', "--wait", "5", env=eager)
    assert bad.exit_code == 1
    assert bad.stdout == ""
    assert "FAILURE: ValueError: no paper" in bad.stderr


def test_result_prints_the_traceback_of_a_failure_only_if_asked(taskq: TaskQCommand, shop: str) -> None:
    task_id = taskq("-A", shop, "call", f"{shop}.fail", "-a", '["no paper"]').stdout.strip()
    work(taskq, shop)
    answer = taskq("-A", shop, "result", task_id)
    assert answer.exit_code == 1
    assert "FAILURE" in answer.stdout
    assert "ValueError: no paper" in answer.stdout
    assert "Traceback" not in answer.stdout
    assert "Traceback" in taskq("-A", shop, "result", task_id, "-t").stdout
    document = json.loads(taskq("-A", shop, "result", task_id, "--json").stdout)
    assert document["state"] == "FAILURE"
    assert document["result"]["exc_type"] == "ValueError"
    assert "Traceback" in document["traceback"]
    assert document["date_done"]


def test_result_of_an_unknown_id_is_pending(taskq: TaskQCommand, shop: str) -> None:
    answer = taskq("-A", shop, "result", "nobody")
    assert answer.exit_code == 2
    assert "PENDING" in answer.stdout
    assert "expired" in answer.stderr
    assert taskq("-A", shop, "result", "nobody", "--wait", "0").exit_code == 2


def test_result_without_result_store_is_an_error(taskq: TaskQCommand, shop: str) -> None:
    answer = taskq("-A", shop, "--result-backend", "disabled://", "result", "nobody")
    assert answer.exit_code == 1
    assert "TASKQ_RESULTS" in answer.stderr


def test_help_of_result_lists_exit_codes(taskq: TaskQCommand) -> None:
    assert "it has not ended yet" in taskq("result", "--help").stdout


def test_control_characters_of_a_task_are_escaped(taskq: TaskQCommand, shop: str) -> None:
    text = "\x1b[2J\r\nstate   SUCCESS\x9b1m\u202e"
    task_id = taskq("-A", shop, "call", f"{shop}.fail", "-a", json.dumps([text])).stdout.strip()
    work(taskq, shop)
    for options in ((), ("-t",), ("--tree",), ("--tree", "--format", "dot"), ("--json",)):
        shown = taskq("-A", shop, "result", task_id, *options).stdout
        assert not {"\x1b", "\r", "\x9b", "\u202e"} & set(shown), options
    assert "state   SUCCESS" not in taskq("-A", shop, "result", task_id).stdout.splitlines()
    answer = taskq("-A", shop, "call", f"{shop}.fail", "-a", json.dumps([text]), "--wait", "0")
    assert answer.exit_code == 2


def test_control_characters_of_waiting_tasks_are_escaped(taskq: TaskQCommand, shop: str) -> None:
    app = find_app(shop)
    # A call refuses such names: another program has sent this message.
    due = datetime.now(UTC) + timedelta(seconds=600)
    message = Message(task="\x1b]0;evil\x07\n2031-01-01 other", id="a\x1bb", eta=due)
    app.run(app.outbox.send([app.outbox.address(message, "celery", time.time())]))
    shown = taskq("-A", shop, "scheduled").stdout
    assert r"\x1b]0;evil\x07\n2031-01-01 other" in shown and "\x1b" not in shown
    assert len(shown.splitlines()) == 2


def test_control_characters_of_an_error_are_escaped(taskq: TaskQCommand, shop: str) -> None:
    answer = taskq("-A", shop, "queues", "--broker", "nothing\x1b[2J://x")
    assert answer.exit_code == 1
    assert "\x1b" not in answer.stderr
