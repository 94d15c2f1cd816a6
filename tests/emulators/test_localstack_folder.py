"""Tests of the folder localstack/, and of the command that runs a stack for ``make localstack``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from emulators import aws
from emulators.aws import localstack
from emulators.ports import free_port
from tests.conftest import StackAddress

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "localstack"
SCRIPT = FOLDER / "init" / "ready.d" / "10-provision.sh"
SHOP = {"TASKQ_APP": "shop", "TASKQ_BROKER": "sqs://eu-west-1/shop-", "TASKQ_RESULTS": "dynamodb://shop-results"}
TIMEOUT_SECONDS = 60


def test_all_files_name_one_version_of_localstack() -> None:
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    assert compose["services"]["localstack"]["image"] == f"localstack/localstack:{localstack.VERSION}"
    install = (FOLDER / "install.sh").read_text()
    assert f"localstack-core[runtime]=={localstack.VERSION}" in install
    assert f"localstack-{localstack.VERSION}\n" in install


def test_paths_mounted_by_the_compose_file_exist() -> None:
    volumes = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["localstack"]["volumes"]
    sources = [re.sub(r"\$\{\w+:-(.+)\}", r"\1", each.rpartition(":/")[0]) for each in volumes]
    assert sources == ["./init/ready.d", "../examples", "..", "/var/run/docker.sock"]
    assert all((FOLDER / source).is_dir() for source in sources if source.startswith("."))
    assert os.access(SCRIPT, os.X_OK)


def test_compose_file_publishes_ports_on_loopback_only() -> None:
    ports = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["localstack"]["ports"]
    assert [port.startswith("127.0.0.1:") for port in ports] == [True]


@pytest.mark.slow
@pytest.mark.second_stack
def test_init_script_creates_declared_resources_and_can_run_again(
    local_stack: Any, aws_environment: Any, sqs_client: Any, dynamodb_client: Any
) -> None:
    prefix = f"init-{os.urandom(4).hex()}-"
    variables = {
        **SHOP,
        "TASKQ_BROKER": f"sqs://eu-west-1/{prefix}",
        "TASKQ_RESULTS": f"dynamodb://{prefix}results",
        "TASKQ_PYTHON": sys.executable,
        "TASKQ_FOLDER": str(ROOT / "examples"),
        "TASKQ_SCHEDULER": "",
    }
    printed = [
        subprocess.run([SCRIPT], env={**os.environ, **variables}, check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]

    urls = sqs_client.list_queues(QueueNamePrefix=prefix)["QueueUrls"]
    names = sorted(url.rpartition("/")[2].removeprefix(prefix) for url in urls)
    assert names == ["images", "images-dead", "orders", "orders-dead"]
    assert dynamodb_client.describe_table(TableName=f"{prefix}results")["Table"]["TableStatus"] == "ACTIVE"
    assert printed[0].count("\n") >= len(urls), "a line for each change"
    assert printed[1] == ""
    for url in urls:
        sqs_client.delete_queue(QueueUrl=url)
    dynamodb_client.delete_table(TableName=f"{prefix}results")


@pytest.mark.slow
@pytest.mark.second_stack
def test_command_runs_script_on_a_stack_and_stops_it_on_sigterm(local_stack: Any, stack_name: str | None) -> None:
    """The fixtures only name the run's stack; the command starts another one of that kind."""
    port = free_port()
    command = [sys.executable, "-m", "emulators.aws", stack_name or "ministack", "--port", str(port)]
    variables = {**os.environ, **SHOP, "TASKQ_LOCALSTACK": str(ROOT / ".emulators"), "TASKQ_SCHEDULER": ""}
    with subprocess.Popen(
        [*command, "--init", str(SCRIPT)], cwd=ROOT / "examples", env=variables, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        lines = iter(running.stdout.readline, "")
        said = []
        for line in lines:
            said.append(line)
            if line.startswith("export "):
                break
        running.send_signal(signal.SIGTERM)
        assert running.wait(TIMEOUT_SECONDS) == 0, said

    assert f"AWS_ENDPOINT_URL=http://127.0.0.1:{port}" in said[-1]
    assert any("shop-orders" in line for line in said)
    assert aws.stack_at(f"http://127.0.0.1:{port}") is None


def test_failing_script_ends_the_command_with_the_reason(local_stack: Any, tmp_path: Path) -> None:
    script = tmp_path / "init.sh"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    command = [sys.executable, "-m", "emulators.aws", "ministack", "--port", str(free_port())]
    done = subprocess.run([*command, "--init", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "returned non-zero exit status 3" in done.stderr


def test_missing_stack_is_reported_with_install_instructions(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "emulators.aws", "localstack"]
    environment = {**os.environ, "TASKQ_LOCALSTACK": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        f"LocalStack {localstack.VERSION} is not installed in {tmp_path}: make localstack installs it, given a "
        "Python 3.13\n"
    )


def test_lacking_returns_a_reason_and_refuses_unknown_capabilities(
    local_stack: StackAddress, stack_name: str | None
) -> None:
    assert aws.lacking("localstack", "fires_schedules") == "LocalStack keeps schedules but never fires them"
    assert aws.lacking("ministack", "fires_schedules") is None
    assert aws.lacking(None, "fires_schedules") is None
    with pytest.raises(ValueError, match="'flies' isn't a capability of a stack; known: fires_schedules, "):
        aws.lacking("localstack", "flies")
    assert stack_name in aws.STACKS
    assert set(aws.LACKING) <= set(aws.STACKS)
