"""Behaviour that all commands share: common options, finding the application, and error messages."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from taskq_cloud.core.urls import without_secrets
from tests.cli.conftest import TaskQCommand


@pytest.mark.parametrize(
    "arguments", [("-A", "{app}", "queues"), ("queues", "-A", "{app}"), ("-A", "x", "queues", "-A", "{app}")]
)
def test_common_option_works_before_and_after_the_command(
    taskq: TaskQCommand, shop: str, arguments: tuple[str, ...]
) -> None:
    result = taskq(*(each.format(app=shop) for each in arguments))
    assert result.exit_code == 0, result.output
    assert "mail" in result.stdout


def test_app_option_overrides_the_environment(taskq: TaskQCommand, shop: str) -> None:
    assert taskq("queues", env={"TASKQ_APP": shop}).exit_code == 0
    assert taskq("-A", shop, "queues", env={"TASKQ_APP": "nowhere"}).exit_code == 0


def test_missing_application_error_says_how_to_name_one(taskq: TaskQCommand) -> None:
    result = taskq("queues")
    assert result.exit_code == 2
    assert "-A shop" in result.stderr
    assert "TASKQ_APP" in result.stderr


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nowhere", "no module 'nowhere'"),
        ("{app}:other", "other is None"),
        ("{app}:add", "not a TaskQ application"),
    ],
)
def test_wrong_application_path_is_a_one_line_error(taskq: TaskQCommand, shop: str, path: str, says: str) -> None:
    result = taskq("-A", path.format(app=shop), "queues")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_application_that_fails_to_import_is_reported_with_file_and_line(taskq: TaskQCommand, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import json\n\n1 / 0\n")
    result = taskq("-A", "broken", "queues")
    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.stderr
    assert "broken.py, line 3" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in taskq("-A", "broken", "queues", "-l", "debug").stderr


def test_unknown_broker_error_lists_known_brokers_and_no_password(taskq: TaskQCommand, shop: str) -> None:
    result = taskq("-A", shop, "-b", "etcd://guest:secret@host", "queues")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "sqs://" in result.stderr
    assert "secret" not in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_log_level_shows_the_traceback_of_an_error(taskq: TaskQCommand, shop: str) -> None:
    result = taskq("-A", shop, "-b", "etcd://host", "-l", "debug", "queues")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_unreachable_endpoint_is_a_one_line_error(
    taskq: TaskQCommand, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = taskq("-A", shop, "-b", "sqs://eu-west-1/shop-", "queues")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert "127.0.0.1:9" in result.stderr
    assert "Traceback" not in result.stderr


def test_broker_option_works_without_an_application(taskq: TaskQCommand, shop: str, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/elsewhere.db"
    task_id = taskq("-A", shop, "-b", store, "call", f"{shop}.add", "-a", "[1, 2]").stdout.strip()
    assert task_id
    assert (tmp_path / "elsewhere.db").exists()
    assert not (tmp_path / ".taskq" / "broker.db").exists()
    result = taskq("-b", store, "queues", "-Q", "celery", "--json")
    assert '"waiting": 1' in result.stdout


def test_broker_option_overrides_the_setting_of_the_application(taskq: TaskQCommand, shop: str, tmp_path: Path) -> None:
    module = tmp_path / f"{shop}.py"
    module.write_text(module.read_text().replace('TaskQ("shop")', 'TaskQ("shop", broker="sqlite:///own.db")'))
    assert taskq("-A", shop, "-b", "sqlite:///other.db", "call", f"{shop}.forget").exit_code == 0
    assert (tmp_path / "other.db").exists()
    assert not (tmp_path / "own.db").exists()


def test_workdir_option_sets_where_application_and_database_are_looked_up(
    taskq: TaskQCommand, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert taskq("--workdir", str(tmp_path), "-A", shop, "call", f"{shop}.forget").exit_code == 0
    assert (tmp_path / ".taskq" / "broker.db").exists()


def test_version_option_prints_the_package_version(taskq: TaskQCommand) -> None:
    assert version("taskq-cloud") in taskq("--version").stdout


def test_help_lists_commands(taskq: TaskQCommand) -> None:
    text = taskq("--help").stdout
    for name in ("call", "purge", "queues", "result", "worker"):
        assert f"  {name} " in text


@pytest.mark.parametrize("command", ["call", "purge", "queues", "result", "worker"])
def test_help_of_each_command_lists_common_options(taskq: TaskQCommand, command: str) -> None:
    result = taskq(command, "--help")
    assert result.exit_code == 0
    assert "--app" in result.stdout


def test_call_imports_neither_worker_nor_botocore(shop: str, tmp_path: Path) -> None:
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
        ("etcd://:password@host:2379/0", "etcd://***@host:2379/0"),
        ("sqs://eu-west-1/?secret_access_key=abc&region=x", "sqs://eu-west-1/?secret_access_key=***&region=x"),
    ],
)
def test_printed_url_hides_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
