"""What every command shares: where options stand, which application is found, and how errors read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import Result

from taskq_cloud.core.urls import without_secrets

TaskQCommand = Callable[..., Result]


@pytest.mark.parametrize(
    "arguments", [("-A", "{app}", "queues"), ("queues", "-A", "{app}"), ("-A", "x", "queues", "-A", "{app}")]
)
def test_a_common_option_stands_before_or_after_the_command(
    taskq: TaskQCommand, shop: str, arguments: tuple[str, ...]
) -> None:
    result = taskq(*(each.format(app=shop) for each in arguments))
    assert result.exit_code == 0, result.output
    assert "mail" in result.stdout


def test_the_application_can_come_from_the_environment_and_an_option_wins(taskq: TaskQCommand, shop: str) -> None:
    assert taskq("queues", env={"TASKQ_APP": shop}).exit_code == 0
    assert taskq("-A", shop, "queues", env={"TASKQ_APP": "nowhere"}).exit_code == 0


def test_without_an_application_the_error_says_how_to_name_one(taskq: TaskQCommand) -> None:
    result = taskq("queues")
    assert result.exit_code == 2
    assert "-A shop" in result.stderr
    assert "TASKQ_APP" in result.stderr


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nowhere", "no module 'nowhere'"),
        ("{app}:other", "other is None"),
        ("{app}:add", "no TaskQ application"),
    ],
)
def test_a_wrong_application_path_is_one_line(taskq: TaskQCommand, shop: str, path: str, says: str) -> None:
    result = taskq("-A", path.format(app=shop), "queues")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_application_that_fails_says_where(taskq: TaskQCommand, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import json\n\n1 / 0\n")
    result = taskq("-A", "broken", "queues")
    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.stderr
    assert "broken.py, line 3" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in taskq("-A", "broken", "queues", "-l", "debug").stderr


def test_an_unknown_broker_names_those_there_are(taskq: TaskQCommand, shop: str) -> None:
    result = taskq("-A", shop, "-b", "amqp://guest:secret@rabbit", "queues")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "sqs://" in result.stderr
    assert "secret" not in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback_of_an_error(taskq: TaskQCommand, shop: str) -> None:
    result = taskq("-A", shop, "-b", "amqp://rabbit", "-l", "debug", "queues")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_an_unreachable_endpoint_is_one_line(taskq: TaskQCommand, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = taskq("-A", shop, "-b", "sqs://eu-west-1/shop-", "queues")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert "127.0.0.1:9" in result.stderr
    assert "Traceback" not in result.stderr


def test_broker_and_results_can_be_named_without_an_application(taskq: TaskQCommand, shop: str, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/elsewhere.db"
    task_id = taskq("-A", shop, "-b", store, "call", f"{shop}.add", "-a", "[1, 2]").stdout.strip()
    assert task_id
    assert (tmp_path / "elsewhere.db").exists()
    assert not (tmp_path / ".taskq" / "broker.db").exists()
    result = taskq("-b", store, "queues", "-Q", "celery", "--json")
    assert '"waiting": 1' in result.stdout


def test_an_option_wins_over_the_application_s_own_settings(taskq: TaskQCommand, shop: str, tmp_path: Path) -> None:
    module = tmp_path / f"{shop}.py"
    module.write_text(module.read_text().replace('TaskQ("shop")', 'TaskQ("shop", broker="sqlite:///own.db")'))
    assert taskq("-A", shop, "-b", "sqlite:///other.db", "call", f"{shop}.forget").exit_code == 0
    assert (tmp_path / "other.db").exists()
    assert not (tmp_path / "own.db").exists()


def test_the_working_folder_is_where_the_application_is(
    taskq: TaskQCommand, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert taskq("--workdir", str(tmp_path), "-A", shop, "call", f"{shop}.forget").exit_code == 0
    assert (tmp_path / ".taskq" / "broker.db").exists()


def test_version(taskq: TaskQCommand) -> None:
    assert version("taskq-cloud") in taskq("--version").stdout


def test_help_lists_every_command(taskq: TaskQCommand) -> None:
    text = taskq("--help").stdout
    for name in ("call", "purge", "queues", "result", "worker"):
        assert f"  {name} " in text


@pytest.mark.parametrize("command", ["call", "purge", "queues", "result", "worker"])
def test_every_command_explains_itself(taskq: TaskQCommand, command: str) -> None:
    result = taskq(command, "--help")
    assert result.exit_code == 0
    assert "--app" in result.stdout


def test_calling_a_task_imports_no_worker(shop: str, tmp_path: Path) -> None:
    code = f"""
import sys
from taskq_cloud.cli import main
main(["-A", "{shop}", "call", "{shop}.forget"], standalone_mode=False)
print([name for name in sys.modules if name.startswith(("taskq_cloud.worker", "taskq_cloud.serverless", "botocore"))])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///.taskq/broker.db", "sqlite:///.taskq/broker.db"),
        ("sqlite:////home/a@b/broker.db", "sqlite:////home/a@b/broker.db"),
        ("sqs://eu-west-1/shop-", "sqs://eu-west-1/shop-"),
        ("sqs://AKIA:s3/cr+et@eu-west-1/shop-", "sqs://***@eu-west-1/shop-"),
        ("redis://:password@host:6379/0", "redis://***@host:6379/0"),
        ("sqs://eu-west-1/?secret_access_key=abc&region=x", "sqs://eu-west-1/?secret_access_key=***&region=x"),
    ],
)
def test_a_shown_url_holds_no_secret(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
