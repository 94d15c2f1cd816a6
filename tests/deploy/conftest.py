"""Fixtures: applications whose resources have unique names, and a proxy that records calls to the AWS stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.flows import Flow
from taskq_cloud.deploy.doctor.calls import services
from tests.conftest import StackAddress
from tests.permissions import CallRecorder


@pytest.fixture
def recorder(
    local_stack: StackAddress, aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[CallRecorder]:
    """Return a proxy that records the calls of this process's AWS clients."""
    with CallRecorder(local_stack.endpoint_url) as recorder:
        monkeypatch.setenv("AWS_ENDPOINT_URL", recorder.endpoint_url)
        yield recorder


@pytest.fixture
def make_app(
    recorder: CallRecorder, local_stack: StackAddress, make_aws_client: Callable[[str, str], Any]
) -> Iterator[Callable[..., TaskQ]]:
    """Return a function that makes an application with a unique prefix; its resources are removed at the end."""
    prefixes, apps = [], []

    def make(*, scheduler: bool = False, results_in: str = "dynamodb", **settings: Any) -> TaskQ:
        prefix = f"t{uuid4().hex[:8]}"
        prefixes.append(prefix)
        if scheduler:
            role = f"arn:aws:iam::000000000000:role/{prefix}-scheduler"
            settings["scheduler"] = f"eventbridge://{prefix}?role={role}"
        where = {
            "broker": f"sqs:///{prefix}-",
            "results": f"dynamodb://{prefix}-results" if results_in == "dynamodb" else f"s3://{prefix}-results/live",
            "payloads": f"s3://{prefix}-payloads/live",
            "task_default_queue": "work",
        }
        app = TaskQ(prefix, **{**where, **settings})
        app.task(name="shop.length", time_limit=5)(len)
        app.task(name="shop.report", time_limit=3600, queue="reports.fifo")(len)
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.close()
    clients = {name: make_aws_client(name, local_stack.endpoint_url) for name in ("sqs", "dynamodb", "s3", "scheduler")}
    for prefix in prefixes:
        remove(clients, prefix)


def remove(clients: dict[str, Any], prefix: str) -> None:
    """Delete all resources whose name has a prefix."""
    for each in clients["scheduler"].list_schedule_groups(NamePrefix=prefix)["ScheduleGroups"]:
        clients["scheduler"].delete_schedule_group(Name=each["Name"])
    for url in clients["sqs"].list_queues(QueueNamePrefix=prefix).get("QueueUrls", []):
        clients["sqs"].delete_queue(QueueUrl=url)
    for table in clients["dynamodb"].list_tables()["TableNames"]:
        if table.startswith(prefix):
            clients["dynamodb"].delete_table(TableName=table)
    s3 = clients["s3"]
    for bucket in s3.list_buckets()["Buckets"]:
        if bucket["Name"].startswith(prefix):
            for each in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
                s3.delete_object(Bucket=bucket["Name"], Key=each["Key"])
            s3.delete_bucket(Bucket=bucket["Name"])


def drive(app: TaskQ, flow: Flow[Any]) -> Any:
    """Run a flow with the clients of an application's deployment."""
    connections = Connections(services(app.topology(), app.services()))
    try:
        return connections.run(flow)
    finally:
        connections.close()
