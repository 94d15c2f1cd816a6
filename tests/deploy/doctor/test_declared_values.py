"""The doctor compares every value of a declaration: a deployment that differs in any one of them has a finding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest

from taskq_cloud.deploy.doctor.checks import findings
from taskq_cloud.deploy.topology.model import Pollers, Topology
from tests.deploy.doctor.as_declared import deployed, on_aws, on_google

Path: TypeAlias = tuple[str | int, ...]

NOT_COMPARED = {
    "environment": "variables of programs that Terraform doesn't make",
    "format": "the declaration's own format",
    "functions.queue": "the application's own name of a queue",
    "name": "the beginning of other names, each of which is compared",
    "project": "a part of full names, each of which is compared",
    "buckets.endpoint": "the address of the client that observes",
    "buckets.lifecycle_rules.id": "rules on Google Cloud have no names",
    "buckets.prefixes": "in the statements of roles and in the lifecycle rules",
    "buckets.provider": "decides what is compared",
    "buckets.region": "the Region of the client that observes",
    "functions.report_batch_item_failures": "always true; mapping.partial_responses compares it",
    "provider": "decides what is compared",
    "queues.queue": "the application's own name of a queue",
    "queues.runtime": "decides which resource serves a queue",
    "region": "the Region of the client that observes",
    "roles.statements.by": "who makes the calls of a statement",
    "roles.statements.sid": "the name of a statement",
    "schedule_group.role_name": "a part of role_arn, which is compared",
    "schedule_group.role_path": "a part of role_arn, which is compared",
    "scheduler_jobs.description": "for people",
    "scheduler_jobs.queue": "the application's own name of a queue",
    "schedules.description": "for people",
    "schedules.queue": "the application's own name of a queue",
    "services.queues": "in the command, which is compared",
    "subscriptions.queue": "the application's own name of a queue",
    "tables.region": "the Region of the client that observes",
}
"""Field -> why no difference from the deployment can be found."""

OTHER: dict[str, Any] = {"flexible_window_minutes": 5, "provisioned_pollers": Pollers(minimum=2, maximum=5)}
"""Optional field -> a value that differs from that of the declarations below, which is None."""

UNOBSERVED = (
    "queues.tasks",
    "subscriptions.tasks",
    "google services.backlog_per_task",
    "google services.cpu_units",
    "google services.maximum_tasks",
    "google services.minimum_tasks",
    "google services.role",
    "google services.stop_timeout_seconds",
    "google kms_key_arn",
    "google schedule_group",
)
"""The tasks are code. On Google Cloud, Terraform alone knows the key, the CPUs and the settings of the autoscaler. The
autoscaler chooses the number of containers. Cloud Run stops a container after ten seconds. Roles are those of AWS."""


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every value of a declaration that is not empty."""
    if isinstance(value, dict) and path[-1:] != ("environment",):
        for key, each in value.items():
            yield from leaves(each, (*path, key))
    elif isinstance(value, list | tuple) and any(isinstance(each, dict) for each in value):
        for position, each in enumerate(value):
            yield from leaves(each, (*path, position))
    elif value != ():
        yield path


def field_of(path: Path) -> str:
    return ".".join(each for each in path if isinstance(each, str))


def declared_values(provider: str, topology: Topology) -> dict[str, Path]:
    """Return the last path of each field that has a value, without those that are not deployed."""
    found: dict[str, Path] = {}
    for path in leaves(topology.model_dump()):
        field = field_of(path)
        if not field.startswith(UNOBSERVED) and not f"{provider} {field}".startswith(UNOBSERVED):
            found[field] = path
    return found


def other(value: Any) -> Any:
    """Return a value of the same type that differs."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return f"{value}x"
        case tuple():
            return (*value, "x")
        case dict():
            return {**value, "TASKQ_X": "x"}
        case None:  # an optional value
            return "2030-01-01T00:00:00Z"
    raise AssertionError(f"{value!r} has a type that a declaration doesn't use")


def changed(model: Any, path: Path) -> Any:
    """Return a declaration, or a part of it, with another value at a path."""
    if not path:
        return other(model)
    first, *rest = path
    if isinstance(first, int):
        return (*model[:first], changed(model[first], tuple(rest)), *model[first + 1 :])
    value = OTHER.get(first) or changed(getattr(model, first), tuple(rest))
    return model.model_copy(update={first: value})


DECLARED = {"aws": on_aws(), "google": on_google()}


@pytest.mark.parametrize("provider", DECLARED)
def test_deployment_as_declared_has_no_findings(provider: str) -> None:
    assert findings(DECLARED[provider], deployed(DECLARED[provider])) == []


@pytest.mark.parametrize(
    ("provider", "path"),
    [
        pytest.param(provider, path, id=f"{provider} {field}")
        for provider, topology in DECLARED.items()
        for field, path in declared_values(provider, topology).items()
        if field not in NOT_COMPARED
    ],
)
def test_declared_value_that_differs_is_found(provider: str, path: Path) -> None:
    topology = DECLARED[provider]
    found = findings(changed(topology, path), deployed(topology))
    assert found != []


def test_fields_that_are_not_compared_are_declared() -> None:
    """Keep the list of exceptions short: a field that no declaration has is no exception."""
    declared = {field for provider, topology in DECLARED.items() for field in declared_values(provider, topology)}
    assert NOT_COMPARED.keys() - declared == set()
