"""Observes the resources of a deployment on Google Cloud and Azure: topics, subscriptions, jobs and buckets."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.deploy.doctor.calls import call
from taskq_cloud.deploy.doctor.observed_google import (
    ObservedContainer,
    ObservedGoogleBucket,
    ObservedJob,
    ObservedSubscription,
    ObservedWorkerPool,
)
from taskq_cloud.deploy.topology.model import Topology

_ABSENT: Final = ("NOT_FOUND",)
_UNITS: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
"""The units of a container's memory, as Kubernetes writes them."""

_NO_POLICY: Final = ("NOT_FOUND", "UNIMPLEMENTED")
_NO_BUCKET: Final = ("NoSuchBucket",)
_NO_CONTAINER: Final = ("ContainerNotFound", "ContainerBeingDeleted")


def google(topology: Topology, location: str | None, skip: Collection[str]) -> Flow[dict[str, Any]]:
    """Observe what is on Google Cloud only; return the fields of ``Observed`` that hold it.

    Args:
        topology: the declaration.
        location: the location of the worker pools.
        skip: areas to leave out.
    """
    there, theirs = (yield from topics(topology)), (yield from subscriptions(topology))
    return {
        "topics": there,
        "subscriptions": theirs,
        "access": {} if "roles" in skip else (yield from access(there, theirs)),
        "jobs": {} if "schedules" in skip else (yield from jobs(topology)),
        "worker_pools": {} if "services" in skip else (yield from worker_pools(topology, location)),
    }


def topics(topology: Topology) -> Flow[dict[str, list[str]]]:
    """Observe the topics of the queues and of their dead letters, and return the existing ones by full name."""
    found = {}
    for each in topology.subscriptions:
        for name in (
            topology.google_name("topics", each.topic),
            topology.google_name("topics", each.dead_letter_topic),
        ):
            answer = yield from call(f"topic {name}", "publisher", "get_topic", _ABSENT, request={"topic": name})
            if answer is not None:
                found[name] = ["message transforms"] if answer.message_transforms else []
    return found


def subscriptions(topology: Topology) -> Flow[dict[str, ObservedSubscription]]:
    """Observe the subscriptions of the queues and of their dead letters, and return the existing ones by full name."""
    found = {}
    for each in topology.subscriptions:
        for short in (each.subscription, each.dead_letter_subscription):
            name = topology.google_name("subscriptions", short)
            answer = yield from call(
                f"subscription {name}", "subscriber", "get_subscription", _ABSENT, request={"subscription": name}
            )
            if answer is not None:
                found[name] = _subscription(answer)
    return found


def access(topics: Iterable[str], subscriptions: Iterable[str]) -> Flow[dict[str, dict[str, frozenset[str]]]]:
    """Observe who has which role on topics and subscriptions, by their full names; an emulator may not know roles."""
    found = {}
    services = dict.fromkeys(topics, "publisher") | dict.fromkeys(subscriptions, "subscriber")
    for name, service in services.items():
        kind = "topic" if service == "publisher" else "subscription"
        answer = yield from call(f"{kind} {name}", service, "get_iam_policy", _NO_POLICY, request={"resource": name})
        if answer is not None:
            found[name] = {
                role: frozenset(member for each in answer.bindings if each.role == role for member in each.members)
                for role in {each.role for each in answer.bindings}
            }
    return found


def jobs(topology: Topology) -> Flow[dict[str, ObservedJob]]:
    """Observe the declared jobs of Cloud Scheduler, and return the existing ones by full name."""
    found = {}
    for each in topology.scheduler_jobs:
        name = topology.google_name(f"locations/{each.location}/jobs", each.name)
        answer = yield from call(f"job {name}", "cloud_scheduler", "get_job", _ABSENT, request={"name": name})
        if answer is not None:
            found[name] = _job(answer)
    return found


def location_of(topology: Topology, given: str | None) -> str | None:
    """Return the location of the worker pools: the given one, or that of the jobs of Cloud Scheduler; None: unknown."""
    return given or next((each.location for each in topology.scheduler_jobs), None)


def worker_pools(topology: Topology, location: str | None) -> Flow[dict[str, ObservedWorkerPool]]:
    """Observe the declared services as worker pools of a location, and return the existing ones by name."""
    found = {}
    for each in topology.services if topology.provider == "google" else ():
        name = topology.google_name(f"locations/{location}/workerPools", each.name)
        answer = yield from call(f"worker pool {name}", "cloud_run", "get_worker_pool", _ABSENT, request={"name": name})
        if answer is not None:
            found[each.name] = _worker_pool(answer)
    return found


def bucket(name: str) -> Flow[ObservedGoogleBucket | None]:
    """Observe a bucket of Cloud Storage; None if it does not exist."""
    answer = yield from call(f"bucket {name}", "gcs", "get_bucket", _NO_BUCKET, bucket=name)
    return None if answer is None else ObservedGoogleBucket(**answer)


def container(name: str) -> Flow[ObservedContainer | None]:
    """Observe a container of Azure Blob Storage; None if it does not exist."""
    answer = yield from call(f"container {name}", "azureblob", "get_container", _NO_CONTAINER, container=name)
    return None if answer is None else ObservedContainer(**answer)


def _subscription(found: Any) -> ObservedSubscription:
    drops = {
        f"the filter {found.filter!r}": found.filter,
        "message transforms": found.message_transforms,
        "an export to BigQuery": found.bigquery_config.table,
        "an export to Cloud Storage": found.cloud_storage_config.bucket,
        "its detachment from the topic": found.detached,
    }
    return ObservedSubscription(
        topic=found.topic,
        ordered=found.enable_message_ordering,
        ack_deadline_seconds=found.ack_deadline_seconds,
        retention_seconds=_seconds(found.message_retention_duration),
        expires_after_seconds=_seconds(found.expiration_policy.ttl),
        dead_letter_topic=found.dead_letter_policy.dead_letter_topic,
        max_delivery_attempts=found.dead_letter_policy.max_delivery_attempts,
        push_endpoint=found.push_config.push_endpoint,
        drops=[name for name, there in drops.items() if there],
    )


def _job(found: Any) -> ObservedJob:
    target = found.pubsub_target
    fields = {
        "schedule": found.schedule,
        # Google writes the default time zone in other ways, too.
        "timezone": "UTC" if found.time_zone.lower() in ("", "utc", "etc/utc") else found.time_zone,
        "queue": target.topic_name or found.http_target.uri,
        "message": target.data.decode(errors="surrogateescape"),
        "attributes": dict(target.attributes),
        "retries": found.retry_config.retry_count,
        "enabled": found.state.name != "PAUSED",
    }
    return ObservedJob(fields, found.state.name)


def _worker_pool(found: Any) -> ObservedWorkerPool:
    containers = list(found.template.containers)
    # Other containers may collect logs or traces.
    worker = next((each for each in containers if "worker" in each.args), containers[0])
    return ObservedWorkerPool(
        service_account=found.template.service_account,
        command=list(worker.args),
        environment={each.name: each.value for each in worker.env if not each.value_source},
        memory_mb=_mebibytes(worker.resources.limits.get("memory", "512Mi")),
        instances=found.scaling.manual_instance_count,
    )


def _mebibytes(quantity: str) -> int:
    """Return a quantity of memory, such as ``2Gi`` or ``512Mi``, in MiB."""
    number = quantity.rstrip("kKMGi")
    return int(float(number) * _UNITS[quantity[len(number) :]] / 2**20)


def _seconds(duration: Any) -> int:
    return int(duration.total_seconds()) if duration else 0
