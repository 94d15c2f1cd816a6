"""Tests of periodic tasks in a topology: Terraform gets the schedules that ``taskq beat apply`` would create."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.beat import apply
from taskq_cloud.core.flows import run
from taskq_cloud.deploy.topology.formats import graph, iam, tfvars
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.schedules._cloud_scheduler_jobs import job_id

ROLE = "arn:aws:iam::123456789012:role/shop-scheduler"
ENTRIES = {
    "nightly": {"task": "report", "schedule": "0 3 * * *", "timezone": "Europe/Paris", "end": "2090-01-01T00:00:00"},
    "often": {"args": ["<aws.scheduler.x>"], "task": "report", "schedule": "10s", "enabled": False},
    "ordered": {"task": "report", "schedule": "90m", "options": {"queue": "work.fifo", "MessageGroupId": "a"}},
    "ordered too": {"task": "report", "schedule": "1h", "options": {"queue": "work.fifo"}},
}


def make_app(owner: str, entries: dict[str, Any], scheduler: str | None = f"eventbridge://shop?role={ROLE}") -> TaskQ:
    app = TaskQ(
        "shop",
        broker="sqs://eu-west-1/shop-",
        results="dynamodb://shop",
        scheduler=scheduler,
        beat_schedule=entries,
        deployment={"schedules": owner},
    )
    app.task(name="report", time_limit=30)(lambda *_args: None)
    app.task(name="ordered", time_limit=30, queue="work.fifo")(lambda: None)
    return app


def test_terraform_and_beat_create_equal_schedules() -> None:
    topology = make_app("terraform", ENTRIES).topology()
    beat = make_app("beat", ENTRIES)

    def arns(step: Any) -> Any:
        queue = step.parameters.get("QueueName") or step.parameters["QueueUrl"].rpartition("/")[2]
        return {"QueueUrl": f"https://sqs/1/{queue}", "Attributes": {"QueueArn": f"arn:aws:sqs:eu-west-1:1:{queue}"}}

    wanted = run(apply.wanted_schedules(beat, beat.schedule_entries(), datetime.now(UTC)), arns)
    expected = {
        each.name: (each.when, each.timezone, each.body, each.enabled, each.end, each.target.rpartition(":")[2])
        for _, each in wanted
    }
    assert expected == {
        each.name: (
            each.expression,
            each.timezone,
            each.input,
            each.enabled,
            datetime.fromisoformat(each.end_date) if each.end_date else None,
            f"shop-{each.queue}",
        )
        for each in topology.schedules
    }
    assert {each.message_group_id for each in topology.schedules} == {None, "a", "default"}
    assert {each.description.partition("]")[0] for each in topology.schedules} == {"[terraform", "[terraform, disabled"}
    # The Terraform module refuses this escape, because jsonencode turns a context attribute into it, too.
    assert not any("\\u003caws.scheduler" in each.input for each in topology.schedules)
    assert tfvars.variables(topology)["schedules"].keys() == expected.keys()


def test_role_of_schedule_group_is_declared_once() -> None:
    topology = make_app("terraform", ENTRIES).topology()
    variables = tfvars.variables(topology)
    assert variables["schedule_group"]["role_name"] == "shop-scheduler"
    assert variables["roles"].keys() == iam.policies(topology, iam.ArnPlaceholders()).keys() - {"shop-scheduler"}
    assert {"shop-applier", "shop-producer"} < variables["roles"].keys()


@pytest.mark.parametrize(
    ("role", "path", "name"),
    [("shop-scheduler", "/", "shop-scheduler"), ("teams/shop/scheduler", "/teams/shop/", "scheduler")],
)
def test_role_has_path_and_name_of_its_arn(role: str, path: str, name: str) -> None:
    app = make_app("terraform", {}, f"eventbridge://shop?role=arn:aws:iam::123456789012:role/{role}")
    group = tfvars.variables(app.topology())["schedule_group"]
    assert (group["role_path"], group["role_name"]) == (path, name)
    assert (group["dead_letter_queue_name"], group["dead_letter_retention_seconds"]) == (None, None)


def test_topology_has_no_schedules_when_beat_manages_them() -> None:
    assert make_app("beat", ENTRIES).topology().schedules == ()


def test_beat_refuses_to_plan_when_terraform_manages_schedules() -> None:
    app = make_app("terraform", ENTRIES)
    with pytest.raises(ImproperlyConfigured, match="Terraform keeps"):
        run(apply.make_plan(app, app.schedule_entries(), datetime.now(UTC)), lambda step: step)


@pytest.mark.parametrize(
    ("options", "scheduler", "says"),
    [
        ({"message_attributes": {"a": "b"}}, f"eventbridge://shop?role={ROLE}", "no message attributes"),
        ({"MessageGroupId": "tenant"}, f"eventbridge://shop?role={ROLE}", "to FIFO queues only"),
        ({}, None, "TASKQ_SCHEDULER"),
    ],
    ids=["attributes", "group", "no group"],
)
def test_schedule_that_terraform_cannot_create_is_refused(
    options: dict[str, Any], scheduler: str | None, says: str
) -> None:
    entries = {"a": {"task": "report", "schedule": "1h", "options": options}}
    with pytest.raises(ImproperlyConfigured, match=says):
        make_app("terraform", entries, scheduler).topology()


ON_GOOGLE = {
    "nightly": {"task": "report", "schedule": "0 3 * * *", "timezone": "Europe/Paris", "end": "2090-01-01T00:00:00"},
    "often": {"task": "report", "schedule": "10s", "enabled": False},
    "with_attributes": {"task": "report", "schedule": "90m", "options": {"message_attributes": {"tenant": "a"}}},
}


def make_google_app(owner: str, entries: dict[str, Any], scheduler: str | None) -> TaskQ:
    app = TaskQ(
        "shop",
        broker="pubsub://my-project/shop-",
        results="gs://shop-results",
        scheduler=scheduler,
        task_default_queue="work",
        beat_schedule=entries,
        deployment={"schedules": owner},
    )
    app.task(name="report", time_limit=30)(lambda *_args: None)
    return app


def test_terraform_and_beat_create_equal_jobs_on_google() -> None:
    scheduler = "cloudscheduler://my-project/europe-west1"
    topology = make_google_app("terraform", ON_GOOGLE, scheduler).topology()
    beat = make_google_app("beat", ON_GOOGLE, scheduler)

    def subscribed(_step: Any) -> Any:
        return SimpleNamespace(subscriptions=["shop-work"])

    wanted = run(apply.wanted_schedules(beat, beat.schedule_entries(), datetime.now(UTC)), subscribed)
    topics = {each.queue: f"projects/my-project/topics/{each.topic}" for each in topology.subscriptions}
    assert [
        (job_id(each.name), each.when, each.timezone, each.body, each.attributes, each.enabled, each.target)
        for _, each in sorted(wanted, key=lambda pair: pair[1].name)
    ] == [
        (each.name, each.schedule, each.timezone, each.message, each.attributes, each.enabled, topics[each.queue])
        for each in topology.scheduler_jobs
    ]
    assert {each.location for each in topology.scheduler_jobs} == {"europe-west1"}
    assert {each.description.partition("]")[0] for each in topology.scheduler_jobs} == {
        "[terraform",
        "[terraform, disabled",
    }
    assert tfvars.variables(topology)["scheduler_jobs"].keys() == {each.name for each in topology.scheduler_jobs}
    assert '"schedule:beat__shop-' in graph.write(topology)
    assert make_google_app("beat", ON_GOOGLE, scheduler).topology().scheduler_jobs == ()


@pytest.mark.parametrize(
    ("options", "scheduler", "says"),
    [
        ({"MessageGroupId": "a"}, "cloudscheduler://my-project/europe-west1", "no ordering key"),
        ({}, "cloudscheduler://other-project/europe-west1", "is not in the project of the jobs"),
        ({}, f"eventbridge://shop?role={ROLE}", "cloudscheduler://project/location"),
        ({}, None, "TASKQ_SCHEDULER"),
    ],
    ids=["group", "project", "another scheduler", "none"],
)
def test_job_that_terraform_cannot_create_on_google_is_refused(
    options: dict[str, Any], scheduler: str | None, says: str
) -> None:
    entries = {"a": {"task": "report", "schedule": "1h", "options": options}}
    with pytest.raises(ImproperlyConfigured, match=says):
        make_google_app("terraform", entries, scheduler).topology()
