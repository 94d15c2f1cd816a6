"""The stores of a topology: the results table, and buckets with their lifecycle rules.

One bucket may hold both results and payloads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from taskq_cloud.core.ports import Service
from taskq_cloud.deploy.topology.model import Bucket, LifecycleRule, Table
from taskq_cloud.settings import Settings
from taskq_cloud.stores import buckets as bucket_rules
from taskq_cloud.stores.payloads.registry import payload_store_from_url
from taskq_cloud.stores.results._objects import ObjectResults
from taskq_cloud.stores.results.dynamodb import DynamoDBResults
from taskq_cloud.stores.results.registry import store_from_url

Provider: TypeAlias = Literal["aws", "google", "azure"]

_PROVIDERS: Final[Mapping[str, Provider]] = {
    "azureblob": "azure",
    "azureblockblob": "azure",
    "gs": "google",
    "s3": "aws",
}


@dataclass(frozen=True, slots=True)
class Stores:
    """The tables and buckets of an application.

    Args:
        tables: the tables of DynamoDB.
        buckets: the buckets, sorted by provider and name.
    """

    tables: tuple[Table, ...]
    buckets: tuple[Bucket, ...]


def stores(settings: Settings) -> Stores:
    """Return the tables and buckets that the ``results`` and ``payloads`` settings name.

    Raises:
        ImproperlyConfigured: a URL is wrong; the error says why.
    """
    tables: list[Table] = []
    buckets: dict[tuple[Provider, str], Bucket] = {}
    options = settings.result_backend_transport_options
    if urlsplit(settings.results_url()).scheme == "rpc":  # results that the broker's server brings
        options = {**settings.broker_transport_options, **options, "broker_url": settings.broker}
    results = store_from_url(settings.results_url(), options)
    expires = settings.policy(0).result_expires
    if isinstance(results, DynamoDBResults):
        tables.append(Table(name=results.table_name, region=_option(results.services["dynamodb"], "region")))
    elif isinstance(results, ObjectResults):
        # A record that is kept for ever must not be removed by a rule (docs/results.md).
        rules = results.lifecycle_rules(expires or 0)
        kept = rules if expires is not None else [rule for rule in rules if rule.name != "taskq-results"]
        _add(buckets, settings.results_url(), results.prefix, kept, results.services)
    if settings.payloads is not None:
        payloads = payload_store_from_url(settings.payloads)
        rules = payloads.lifecycle_rules(settings.payload_expires_days, expires)
        _add(buckets, settings.payloads, payloads.prefix, rules, payloads.services)
    return Stores(tuple(tables), tuple(buckets[key] for key in sorted(buckets)))


def _add(
    buckets: dict[tuple[Provider, str], Bucket],
    url: str,
    prefix: str,
    rules: Iterable[bucket_rules.LifecycleRule],
    services: Mapping[str, Service],
) -> None:
    """Add the bucket of a URL, or a prefix and rules to that bucket if it was added before."""
    split = urlsplit(url)
    provider = _PROVIDERS[split.scheme]
    (service,) = services.values()
    before = buckets.get((provider, split.netloc))
    lifecycle = [LifecycleRule(id=rule.name, prefix=rule.prefix, expire_days=rule.days) for rule in rules]
    buckets[provider, split.netloc] = Bucket(
        provider=provider,
        name=split.netloc,
        region=_option(service, "region"),
        prefixes=tuple(sorted({prefix, *(before.prefixes if before else ())})),
        lifecycle_rules=tuple(sorted([*(before.lifecycle_rules if before else ()), *lifecycle], key=lambda r: r.id)),
        endpoint=_option(service, "account_url"),
    )


def _option(service: Service, name: str) -> str | None:
    value = dict(service.options).get(name)
    return None if value is None else str(value)
