"""The programs of docs/other-languages.md send and receive messages of SQS, on the local AWS stack."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.core.model.capabilities import dead_letter_queue
from tests.docs.projects import environment_for, run_in, write_project

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NODE_MODULES = ROOT / ".emulators" / "node_modules"
GO_SOURCES = Path("/usr/share/gocode")
GO_SQS = GO_SOURCES / "src" / "github.com" / "aws" / "aws-sdk-go-v2" / "service" / "sqs"
TIMEOUT_SECONDS = 120

# Debian's version of the SDK is older than its variable AWS_ENDPOINT_URL.
_WITH_ENDPOINT = """config.LoadDefaultConfig(ctx, config.WithEndpointResolverWithOptions(
    aws.EndpointResolverWithOptionsFunc(func(service, region string, _ ...any) (aws.Endpoint, error) {
        return aws.Endpoint{URL: os.Getenv("AWS_ENDPOINT_URL"), HostnameImmutable: true, SigningRegion: region}, nil
    })))"""


def require(condition: bool, reason: str) -> None:
    if condition:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_project("other-languages.md", tmp_path)
    return tmp_path


@pytest.fixture
def queue(make_queue: Callable[..., str]) -> str:
    name = make_queue("work")
    make_queue(dead_letter_queue(name), exactly=True)
    return name


def output_of(command: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    ran = subprocess.run(
        command,
        cwd=folder,
        env=environment_for(folder, environment),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout.strip()


def check_that_a_worker_runs(task_id: str, queue: str, project: Path, environment: Mapping[str, str]) -> None:
    """Let a worker take the message, and compare the result of its task."""
    settings = {**environment, "TASKQ_BROKER": "sqs://eu-west-1/", "TASKQ_RESULTS": "sqlite:///results.db"}
    worked = run_in(project, ["taskq_cloud", "worker", "-A", "shop", "-Q", queue, "--burst", "-P", "solo"], **settings)
    assert worked.returncode == 0, worked.stderr
    app = TaskQ("reader", results=f"sqlite:///{project / 'results.db'}")
    assert app.AsyncResult(task_id).get(timeout=1) == 5
    app.close()


def node_project(project: Path) -> None:
    require(shutil.which("node") is not None and (NODE_MODULES / "@aws-sdk").exists(), "make servers has not run")
    (project / "node_modules").symlink_to(NODE_MODULES)


def test_worker_runs_what_javascript_sends(project: Path, queue: str, aws_environment: dict[str, str]) -> None:
    node_project(project)
    task_id = output_of(["node", "send.mjs", queue], project, aws_environment)
    check_that_a_worker_runs(task_id, queue, project, aws_environment)


def test_javascript_runs_what_python_sends(project: Path, queue: str, aws_environment: dict[str, str]) -> None:
    node_project(project)
    app = TaskQ("sender", broker="sqs://eu-west-1/")
    app.send_task("thumbnails.make", ("a.png",), {"width": 300}, queue=queue)
    assert output_of(["node", "work.mjs", queue], project, aws_environment) == "made 300/a.png"
    depth = app.run(app.broker.depth(queue))
    app.close()
    assert depth is not None
    assert depth.total == 0


def test_worker_runs_what_go_sends(project: Path, queue: str, aws_environment: dict[str, str]) -> None:
    require(shutil.which("go") is not None and GO_SQS.exists(), "Go or its AWS SDK isn't installed: make servers")
    program = project / "send.go"
    program.write_text(program.read_text().replace("config.LoadDefaultConfig(ctx)", _WITH_ENDPOINT))
    go = {"GO111MODULE": "off", "GOPATH": str(GO_SOURCES), "GOFLAGS": "-p=2", "GOCACHE": str(project / "cache")}
    output_of(["go", "build", "-o", "send", "send.go"], project, {**go, "HOME": str(project)})
    task_id = output_of(["./send", queue], project, aws_environment)
    check_that_a_worker_runs(task_id, queue, project, aws_environment)
