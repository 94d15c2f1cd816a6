"""The declaration for Terraform: one JSON object, which the modules ``taskq`` and ``gcp_taskq`` take as ``declared``.

Collections are maps, so that Terraform's ``for_each`` leaves the other queues alone when a queue is added. Their keys
are sorted, and are the application's own names where it has any. docs/topology.md shows the shape.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from taskq_cloud.deploy.topology.model import (
    Bucket,
    Model,
    Queue,
    Role,
    Schedule,
    ScheduleGroup,
    SchedulerJob,
    Server,
    Service,
    Table,
    Topology,
)


def variables(topology: Topology) -> dict[str, Any]:
    """Return the attributes of ``declared``, by name."""
    shared: dict[str, Any] = {
        "environment": topology.environment,
        "name": topology.name,
        "services": _by_name(topology.services),
        "buckets": {each.name: _bucket(each) for each in topology.buckets},
        "tables": _by_name(topology.tables),
    }
    if topology.servers:
        shared["servers"] = {each.name: _server(each) for each in topology.servers}
    if topology.provider == "google":
        subscriptions = {each.queue: _fields(each, "queue", "tasks") for each in topology.subscriptions}
        jobs = _by_name(topology.scheduler_jobs)
        return {**shared, "project": topology.project, "scheduler_jobs": jobs, "subscriptions": subscriptions}
    schedule_role = _role_of(topology.schedule_group)
    return {
        **shared,
        "functions": {each.queue: _fields(each, "report_batch_item_failures") for each in topology.functions},
        "kms_key_arn": topology.kms_key_arn,
        "queues": {each.queue: _queue(each) for each in topology.queues},
        "region": topology.region,
        "roles": {each.name: _role(each) for each in topology.roles if each.name != schedule_role},
        "schedule_group": topology.schedule_group and _schedule_group(topology.schedule_group),
        "schedules": _by_name(topology.schedules),
    }


def write(topology: Topology) -> str:
    """Return the declaration as JSON text, for the file ``taskq.tfvars.json``."""
    return json.dumps(variables(topology), indent=2, sort_keys=True, ensure_ascii=False)


def _fields(model: Model, *without: str) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude=set(without))


def _by_name(models: Iterable[Schedule | SchedulerJob | Service | Table]) -> dict[str, Any]:
    return {each.name: _fields(each) for each in models}


def _queue(queue: Queue) -> dict[str, Any]:
    return {
        **_fields(queue, "queue", "tasks", "dead_letter_queue"),
        "dead_letter_queue_name": queue.dead_letter_queue.name,
        "dead_letter_retention_seconds": queue.dead_letter_queue.message_retention_seconds,
    }


def _server(server: Server) -> dict[str, Any]:
    return _fields(server, "name", "queues")


def _bucket(bucket: Bucket) -> dict[str, Any]:
    rules = {rule.id: _fields(rule, "id") for rule in bucket.lifecycle_rules}
    return {**_fields(bucket, "prefixes", "lifecycle_rules"), "lifecycle_rules": rules}


def _schedule_group(group: ScheduleGroup) -> dict[str, Any]:
    dead = group.dead_letter_queue
    return {
        **_fields(group, "dead_letter_queue"),
        "dead_letter_queue_name": dead and dead.name,
        "dead_letter_retention_seconds": dead and dead.message_retention_seconds,
    }


def _role_of(group: ScheduleGroup | None) -> str | None:
    """Return the name of the role that the module ``schedules`` makes itself, because only it knows the group's ARN."""
    return None if group is None else group.role_name


def _role(role: Role) -> dict[str, Any]:
    statements = {each.sid: _fields(each, "sid", "by") for each in role.statements}
    return {"assumed_by": role.assumed_by, "statements": statements}
