"""``taskq doctor`` has no findings on the example ``gcp`` as Terraform plans it, until a planned value differs.

Nothing here stands for Google Cloud, so nothing is applied: the planned values are read as if Google described them.
Attributes that are known only after an apply, such as a subscription's topic, are taken from the declaration.
"""

from __future__ import annotations

import json
import re
import subprocess
from base64 import b64decode
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.deploy.doctor.checks import findings
from taskq_cloud.deploy.doctor.observed import Observed
from taskq_cloud.deploy.doctor.observed_google import (
    ObservedGoogleBucket,
    ObservedJob,
    ObservedSubscription,
    ObservedWorkerPool,
)
from taskq_cloud.deploy.topology.model import Topology
from tests.infra.commands import command
from tests.infra.terraform import INFRA, copy_of, planned, with_providers

LOCATION = "europe-west1"


class PlannedDeployment:
    """The resources of a plan as observations.

    Args:
        resources: address -> resource.
        topology: the declaration.
    """

    def __init__(self, resources: dict[str, dict[str, Any]], topology: Topology) -> None:
        self._resources = resources
        self._topology = topology
        self._accounts = {
            match.group(1): f"{values['account_id']}@{topology.project}.iam.gserviceaccount.com"
            for address, values in self._of("google_service_account").items()
            if (match := re.search(r'module\.worker\["(.+?)"\]', address))
        }

    def _of(self, kind: str) -> dict[str, dict[str, Any]]:
        return {address: each["values"] for address, each in self._resources.items() if each["type"] == kind}

    def observed(self) -> Observed:
        return Observed(
            topics={self._name("topics", each["name"]): [] for each in self._of("google_pubsub_topic").values()},
            subscriptions=dict(map(self._subscription, self._of("google_pubsub_subscription").values())),
            access=self._access(),
            jobs=dict(map(self._job, self._of("google_cloud_scheduler_job").values())),
            worker_pools=dict(map(self._pool, self._of("google_cloud_run_v2_worker_pool").values())),
            google_buckets=dict(map(_bucket, self._of("google_storage_bucket").values())),
        )

    def _name(self, collection: str, name: str) -> str:
        return self._topology.google_name(collection, name)

    def _subscription(self, values: dict[str, Any]) -> tuple[str, ObservedSubscription]:
        (declared,) = (
            each
            for each in self._topology.subscriptions
            if values["name"] in (each.subscription, each.dead_letter_subscription)
        )
        of_dead = values["name"] == declared.dead_letter_subscription
        policy = (values.get("dead_letter_policy") or [None])[0]
        return self._name("subscriptions", values["name"]), ObservedSubscription(
            topic=self._name("topics", declared.dead_letter_topic if of_dead else declared.topic),
            ordered=bool(values.get("enable_message_ordering")),
            ack_deadline_seconds=values["ack_deadline_seconds"],
            retention_seconds=int(values["message_retention_duration"].removesuffix("s")),
            expires_after_seconds=int(values["expiration_policy"][0]["ttl"] or 0),
            dead_letter_topic=self._name("topics", declared.dead_letter_topic) if policy else "",
            max_delivery_attempts=policy["max_delivery_attempts"] if policy else 0,
            push_endpoint="",
            drops=[values["filter"]] if values.get("filter") else [],
        )

    def _access(self) -> dict[str, dict[str, frozenset[str]]]:
        found: dict[str, dict[str, frozenset[str]]] = defaultdict(lambda: defaultdict(frozenset))
        for kind in ("topic", "subscription"):
            for address, values in self._of(f"google_pubsub_{kind}_iam_member").items():
                worker = address.rpartition(" ")[2].removesuffix('"]')
                member = values.get("member") or f"serviceAccount:{self._accounts.get(worker, 'later')}"
                # The stand-in makes up the number of the project.
                member = re.sub(r"service-number-\w+@", "service-123456789012@", member)
                found[self._name(f"{kind}s", values[kind])][values["role"]] |= {member}
        return found

    def _job(self, values: dict[str, Any]) -> tuple[str, ObservedJob]:
        target = values["pubsub_target"][0]
        (declared,) = (each for each in self._topology.scheduler_jobs if each.name == values["name"])
        (topic,) = (each.topic for each in self._topology.subscriptions if each.queue == declared.queue)
        fields = {
            "schedule": values["schedule"],
            "timezone": values["time_zone"],
            "queue": self._name("topics", topic),
            "message": b64decode(target["data"]).decode(),
            "attributes": target["attributes"],
            "retries": values["retry_config"][0]["retry_count"],
            "enabled": not values["paused"],
        }
        return self._name(f"locations/{values['region']}/jobs", values["name"]), ObservedJob(fields, "ENABLED")

    def _pool(self, values: dict[str, Any]) -> tuple[str, ObservedWorkerPool]:
        (container,) = values["template"][0]["containers"]
        return values["name"], ObservedWorkerPool(
            service_account=self._accounts[values["name"]],
            command=container["args"],
            environment={each["name"]: each.get("value") or "known later" for each in container["env"]},
            memory_mb=int(container["resources"][0]["limits"]["memory"].removesuffix("Mi")),
            instances=values["scaling"][0]["manual_instance_count"],
        )


def _bucket(values: dict[str, Any]) -> tuple[str, ObservedGoogleBucket]:
    rules = [
        {
            "action": {"type": rule["action"][0]["type"]},
            "condition": {
                "age": rule["condition"][0]["age"],
                "matchesPrefix": rule["condition"][0]["matches_prefix"] or [],
            },
        }
        for rule in values["lifecycle_rule"]
    ]
    access = values["uniform_bucket_level_access"]
    return values["name"], ObservedGoogleBucket(rules, values["public_access_prevention"], access)


@pytest.mark.slow
def test_planned_example_on_google_has_no_findings_until_something_differs(tmp_path: Path) -> None:
    folder = copy_of(INFRA / "examples" / "gcp", tmp_path)
    topology = Topology.model_validate_json(
        subprocess.run(
            command("topology", "--format", "json"),
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    given = {"region": LOCATION, "image": "shop:1", "producers": json.dumps({"web": "user:shop@example.com"})}
    terraform = with_providers("offline", tmp_path / "data")
    terraform.init(folder)
    plan = terraform.plan(folder, *(f"-var={name}={value}" for name, value in given.items()))
    there = PlannedDeployment(planned(plan), topology).observed()
    assert findings(topology, there) == []
    (name,) = there.worker_pools
    less = replace(there.worker_pools[name], memory_mb=512)
    assert [each.check for each in findings(topology, replace(there, worker_pools={name: less}))] == ["pool.memory"]
