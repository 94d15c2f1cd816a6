"""The doctor on Google Cloud and Azure: real calls to emulators, which find nothing at first, and then each drift."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias
from uuid import uuid4

import pytest
from azure.storage.blob import BlobServiceClient
from google.cloud import storage

from emulators import object_stores
from taskq_cloud import TaskQ
from taskq_cloud.core.flows import Call, CallError, Flow, Trouble, run
from taskq_cloud.deploy.doctor import observe, observe_google
from taskq_cloud.deploy.doctor.checks import CHECKS, findings
from taskq_cloud.deploy.doctor.observed import Observed
from taskq_cloud.deploy.topology.model import Topology
from taskq_cloud.errors import AccessDenied
from tests.brokers.pubsub_server import PubSubServer
from tests.deploy.conftest import drive
from tests.deploy.doctor.as_declared import AGENT, NIGHTLY, deployed, on_google
from tests.deploy.doctor.cloud_run_server import CloudRunServer, worker_pool
from tests.stores.schedules.cloud_scheduler_server import CloudSchedulerServer

Plant: TypeAlias = Callable[[Observed], Observed]

TOPIC = "projects/shop-prod/topics/shop-orders"
QUEUE = "projects/shop-prod/subscriptions/shop-orders"
DEAD = f"{QUEUE}-dead"
DELETE = {"action": {"type": "Delete"}}


def of(section: str, name: str | None = None, **fields: Any) -> Plant:
    """Change fields of a resource; without fields, remove it."""

    def plant(observed: Observed) -> Observed:
        there = dict(getattr(observed, section))
        key = name or next(iter(there))
        if fields:
            there[key] = replace(there[key], **fields)
        else:
            del there[key]
        changes: dict[str, Any] = {section: there}
        return replace(observed, **changes)

    return plant


def job(**fields: Any) -> Plant:
    def plant(observed: Observed) -> Observed:
        (there,) = observed.jobs.values()
        return of("jobs", fields={**there.fields, **fields})(observed)

    return plant


def rule(days: int, *prefixes: str) -> Plant:
    def plant(observed: Observed) -> Observed:
        (there,) = observed.google_buckets.values()
        more = {**DELETE, "condition": {"age": days, "matchesPrefix": list(prefixes)}}
        return of("google_buckets", lifecycle_rules=[*there.lifecycle_rules, more])(observed)

    return plant


def access(name: str, role: str, *members: str) -> Plant:
    """Let some members, and no others, have a role of Pub/Sub on a topic or a subscription."""

    def plant(observed: Observed) -> Observed:
        there = {**observed.access[name], f"roles/pubsub.{role}": frozenset(members)}
        return replace(observed, access={**observed.access, name: there})

    return plant


WORKER = "serviceAccount:shop-worker@shop-prod.iam.gserviceaccount.com"

PLANTED: list[tuple[str, set[str], Plant]] = [
    ("topic missing", {"topic.missing"}, of("topics", TOPIC)),
    ("topic of dead letters missing", {"topic.missing"}, of("topics", f"{TOPIC}-dead")),
    ("transforms", {"topic.transforms"}, lambda o: replace(o, topics={**o.topics, TOPIC: ["message transforms"]})),
    ("subscription missing", {"subscription.missing"}, of("subscriptions", QUEUE)),
    ("dead letters kept nowhere", {"subscription.missing"}, of("subscriptions", DEAD)),
    ("another topic", {"subscription.topic"}, of("subscriptions", QUEUE, topic="_deleted-topic_")),
    ("dead letters of another topic", {"subscription.topic"}, of("subscriptions", DEAD, topic=TOPIC)),
    ("pushed", {"subscription.push"}, of("subscriptions", QUEUE, push_endpoint="https://shop.example")),
    ("filtered", {"subscription.drops"}, of("subscriptions", QUEUE, drops=["the filter 'a'"])),
    ("ordered", {"subscription.order"}, of("subscriptions", QUEUE, ordered=True)),
    ("expiring", {"subscription.expires"}, of("subscriptions", QUEUE, expires_after_seconds=2_678_400)),
    ("dead letters expiring", {"subscription.expires"}, of("subscriptions", DEAD, expires_after_seconds=86_400)),
    (
        "no dead-letter policy",
        {"subscription.dead_letters"},
        of("subscriptions", QUEUE, dead_letter_topic="", max_delivery_attempts=0),
    ),
    ("fewer attempts", {"subscription.max_attempts"}, of("subscriptions", QUEUE, max_delivery_attempts=5)),
    ("more attempts", {"subscription.max_attempts"}, of("subscriptions", QUEUE, max_delivery_attempts=100)),
    ("kept too short", {"subscription.retention"}, of("subscriptions", QUEUE, retention_seconds=600)),
    ("kept too long", {"subscription.retention"}, of("subscriptions", QUEUE, retention_seconds=600_000)),
    ("another deadline", {"subscription.ack_deadline"}, of("subscriptions", QUEUE, ack_deadline_seconds=10)),
    ("worker that may not publish", {"topic.publishers"}, access(TOPIC, "publisher", "user:shop@example.com")),
    ("worker without dead letters", {"topic.publishers"}, access(f"{TOPIC}-dead", "publisher", AGENT)),
    ("dead letters that Pub/Sub can't move", {"topic.publishers"}, access(f"{TOPIC}-dead", "publisher", WORKER)),
    ("dead letters that Pub/Sub can't take", {"subscription.subscribers"}, access(QUEUE, "subscriber", WORKER)),
    ("worker that may not receive", {"subscription.subscribers"}, access(QUEUE, "subscriber", AGENT)),
    ("worker that may not look", {"subscription.viewers"}, access(QUEUE, "viewer")),
    ("topic open to everyone", {"topic.public"}, access(TOPIC, "editor", "allUsers")),
    ("subscription open to everyone", {"subscription.public"}, access(DEAD, "viewer", "allAuthenticatedUsers")),
    ("worker pool missing", {"pool.missing"}, of("worker_pools")),
    ("worker of other queues", {"pool.command"}, of("worker_pools", command=["taskq", "worker", "-Q", "mail"])),
    ("worker of another broker", {"pool.environment"}, of("worker_pools", environment={})),
    ("default account", {"pool.account"}, of("worker_pools", service_account="")),
    ("little memory", {"pool.memory"}, of("worker_pools", memory_mb=512)),
    ("much memory", {"pool.memory"}, of("worker_pools", memory_mb=16_384)),
    ("too many containers", {"pool.instances"}, of("worker_pools", instances=1_000)),
    ("job missing", {"jobs.missing"}, of("jobs")),
    ("job at another time", {"jobs.changed"}, job(schedule="0 4 * * *")),
    ("job paused", {"jobs.changed"}, job(enabled=False)),
    ("job with fewer retries", {"jobs.changed"}, job(retries=0)),
    ("job to another topic", {"jobs.changed"}, job(queue=f"{TOPIC}-dead")),
    ("job with other attributes", {"jobs.changed"}, job(attributes={"a": "b"})),
    ("job that failed to update", {"jobs.state"}, of("jobs", state="UPDATE_FAILED")),
    ("bucket missing", {"bucket.missing"}, of("google_buckets")),
    ("no lifecycle", {"bucket.lifecycle"}, of("google_buckets", lifecycle_rules=[])),
    ("everything removed soon", {"bucket.lifecycle"}, rule(0)),
    ("results removed soon", {"bucket.lifecycle"}, rule(0, "live/")),
    ("open to the public", {"bucket.public"}, of("google_buckets", public_access_prevention="inherited")),
    ("container missing", {"bucket.missing"}, of("containers")),
    ("container open to the public", {"bucket.public"}, of("containers", public_access="blob")),
]


@pytest.mark.parametrize(("checks", "plant"), [pytest.param(*each[1:], id=each[0]) for each in PLANTED])
def test_drift_is_the_only_finding(checks: set[str], plant: Plant) -> None:
    topology = on_google()
    found = findings(topology, plant(deployed(topology)))
    assert {each.check for each in found} == checks
    assert all(each.difference and each.consequence and each.remedy for each in found)


def test_lifecycle_rule_of_another_prefix_is_no_finding() -> None:
    topology = on_google()
    assert findings(topology, rule(1, "logs/")(deployed(topology))) == []


def test_every_check_on_google_is_planted_here() -> None:
    of_google = {each.name for each in CHECKS if each.name.startswith(("topic.", "subscription.", "pool.", "jobs."))}
    assert of_google - set().union(*(checks for _, checks, _ in PLANTED)) == set()


def test_access_on_a_server_is_observed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    topology = on_google()
    expected = deployed(topology)
    with PubSubServer("shop-prod") as server:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
        for each in topology.subscriptions:
            server.make_queue(each.topic)
            server.make_queue(each.dead_letter_topic)
        server.policies = {
            name: {role: sorted(members) for role, members in roles.items()} for name, roles in expected.access.items()
        }
        app = TaskQ("shop", broker="pubsub://shop-prod/shop-", task_default_queue="orders")
        observe_access = observe_google.access(expected.topics, expected.subscriptions)
        try:
            assert drive(app, observe_access) == expected.access
        finally:
            app.close()


def test_missing_permission_is_named() -> None:
    def perform(call: Any) -> Any:
        raise CallError(call, "PERMISSION_DENIED", "no", Trouble.REFUSED)

    with pytest.raises(AccessDenied, match=r"topic projects/shop-prod/topics/shop-orders: pubsub\.topics\.get was"):
        run(observe.everything(on_google()), perform)


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch, pstest_host: str) -> Iterator[tuple[TaskQ, CloudRunServer]]:
    """Return an application whose resources exist on emulators, as Terraform would make them, and that of its pools."""
    if (reason := object_stores.azurite_missing() or object_stores.gcs_server_missing()) is not None:
        pytest.skip(reason)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pstest_host)
    prefix = f"d{uuid4().hex[:8]}"
    azurite, gcs = object_stores.azurite(), object_stores.gcs_server()
    with azurite, gcs, CloudRunServer() as cloud_run, CloudSchedulerServer(project="shop-prod") as scheduler:
        monkeypatch.setenv("CLOUD_RUN_EMULATOR_HOST", cloud_run.host)
        monkeypatch.setenv("CLOUD_SCHEDULER_EMULATOR_HOST", scheduler.host)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", object_stores.azurite_connection_string(azurite.url))
        app = TaskQ(
            "shop",
            broker=f"pubsub://shop-prod/{prefix}-",
            results=f"gs://{prefix}-results/live",
            payloads=f"azureblob://{prefix}-payloads",
            scheduler="cloudscheduler://shop-prod/europe-west1",
            task_default_queue="orders",
            beat_schedule=NIGHTLY,
            deployment={"schedules": "terraform"},
        )
        app.task(name="shop.charge", time_limit=30)(len)
        for each in app.topology().subscriptions:
            scheduler.pubsub.make_topic(each.topic)  # of this server, which knows nothing of the other one's topics
        make(app)
        topology = app.topology()
        for service in topology.services:
            name = topology.google_name("locations/europe-west1/workerPools", service.name)
            cloud_run.pools[name] = worker_pool(topology, service)
        yield app, cloud_run
        app.close()


def make(app: TaskQ) -> None:
    """Make the resources of an application with the SDKs' calls, as the modules for Terraform do."""
    topology = app.topology()
    drive(app, made(topology))
    for bucket in topology.buckets:
        if bucket.provider == "google":
            storage.Client(project="shop-prod").create_bucket(bucket.name)
        else:
            BlobServiceClient.from_connection_string(
                os.environ["AZURE_STORAGE_CONNECTION_STRING"], api_version="2025-05-05"
            ).create_container(bucket.name)


def made(topology: Topology) -> Flow[None]:
    for each in topology.subscriptions:
        topic = topology.google_name("topics", each.topic)
        dead = topology.google_name("topics", each.dead_letter_topic)
        for name in (topic, dead):
            yield Call("publisher", "create_topic", {"request": {"name": name}})
        queue = {
            "name": topology.google_name("subscriptions", each.subscription),
            "topic": topic,
            "ack_deadline_seconds": each.ack_deadline_seconds,
            "message_retention_duration": {"seconds": each.message_retention_seconds},
            "enable_message_ordering": each.ordered,
            "expiration_policy": {},
            "dead_letter_policy": {
                "dead_letter_topic": dead,
                "max_delivery_attempts": each.max_delivery_attempts,
            },
        }
        of_dead = {
            "name": topology.google_name("subscriptions", each.dead_letter_subscription),
            "topic": dead,
            "ack_deadline_seconds": 60,
            "expiration_policy": {},
        }
        for request in (queue, of_dead):
            yield Call("subscriber", "create_subscription", {"request": request})
    for job in topology.scheduler_jobs:
        parent = topology.google_name("locations", job.location)
        (topic,) = [each.topic for each in topology.subscriptions if each.queue == job.queue]
        target = {
            "topic_name": topology.google_name("topics", topic),
            "data": job.message.encode(),
            "attributes": job.attributes,
        }
        request = {
            "name": f"{parent}/jobs/{job.name}",
            "schedule": job.schedule,
            "time_zone": job.timezone,
            "pubsub_target": target,
            "retry_config": {"retry_count": job.retries},
        }
        yield Call("cloud_scheduler", "create_job", {"request": {"parent": parent, "job": request}})


@pytest.mark.slow
def test_resources_on_emulators_are_observed_as_they_are(deployment: tuple[TaskQ, CloudRunServer]) -> None:
    """The fake of Cloud Storage keeps neither lifecycle rules nor the settings of access."""
    app, cloud_run = deployment
    topology = app.topology()

    def found() -> list[str]:
        return [each.check for each in findings(topology, drive(app, observe.everything(topology)))]

    assert found() == ["bucket.lifecycle", "bucket.public"]
    (job_there,), (queue_there,) = topology.scheduler_jobs, topology.subscriptions
    name = topology.google_name(f"locations/{job_there.location}/jobs", job_there.name)
    subscription = topology.google_name("subscriptions", queue_there.dead_letter_subscription)

    def drift() -> Flow[None]:
        yield Call("cloud_scheduler", "pause_job", {"request": {"name": name}})
        yield Call("subscriber", "delete_subscription", {"request": {"subscription": subscription}})

    drive(app, drift())
    (pool,) = cloud_run.pools.values()
    pool.scaling.manual_instance_count = 1_000
    pool.template.containers[0].resources.limits["memory"] = "512Mi"
    assert found() == [
        "bucket.lifecycle",
        "bucket.public",
        "jobs.changed",
        "subscription.missing",
        "pool.memory",
        "pool.instances",
    ]


def test_worker_pools_are_left_out_without_a_location() -> None:
    asked = []

    def perform(call: Any) -> Any:
        asked.append(call.service)
        raise CallError(call, "NOT_FOUND", "no", Trouble.REFUSED)

    topology = on_google().model_copy(update={"scheduler_jobs": ()})
    skip = ["stores"]
    without = run(observe.everything(topology, skip=skip), perform)
    assert "services" in without.skipped
    assert "cloud_run" not in asked
    given = run(observe.everything(topology, skip=skip, location="europe-west1"), perform)
    assert "services" not in given.skipped
    assert "cloud_run" in asked
