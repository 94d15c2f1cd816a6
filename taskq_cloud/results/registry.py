"""Finds a result store by its URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.urls import Registry

STORES: Final = Registry(
    "result store",
    {
        "disabled": "taskq_cloud.results.disabled:DisabledResults",
        "dynamodb": "taskq_cloud.results.dynamodb:DynamoDBResults",
        "memory": "taskq_cloud.results.memory:MemoryResults",
        "sqlite": "taskq_cloud.results.sqlite:SQLiteResults",
    },
    "taskq_cloud.results",
)


def store_from_url(url: str, options: Mapping[str, Any]) -> ResultStore:
    """The result store of a URL; no call is made.

    Args:
        url: ``dynamodb://table``, ``sqlite:///path``, ``memory://``, ``disabled://``, or an installed package's.
        options: what a store of another package may want to know beside it.

    Raises:
        ImproperlyConfigured: no store has the URL's scheme, or it doesn't understand the rest.
    """
    store: ResultStore = STORES.open(url, options)
    return store
