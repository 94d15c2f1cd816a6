"""Keeps nothing: ``disabled://``, Celery's name for having no result backend.

Tasks run; nobody can ask what became of them. What is redelivered runs again, as nothing remembers that it has run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import SplitResult

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.ports import Service, StoreCapabilities
from taskq_cloud.core.records.record import Record
from taskq_cloud.errors import ImproperlyConfigured


class DisabledResults:
    """The store of an application that keeps no results."""

    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(
        largest_record_bytes=0,
        keeps_records=False,
        joins=False,
        claims=False,
        shared_between_processes=False,
        durable=False,
    )

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> DisabledResults:
        """``disabled://``."""
        return cls()

    @property
    def services(self) -> Mapping[str, Service]:
        """None."""
        return {}

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Nothing is there."""
        yield from ()
        return {}

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Nothing stands against any of them."""
        yield from ()
        return [True] * len(records)

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Nothing is there."""
        yield from ()

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Refused: a join is remembered, and nothing is here.

        Raises:
            ImproperlyConfigured: always.
        """
        yield from ()
        raise ImproperlyConfigured(f"join {join_id}: no result store is configured: set TASKQ_RESULTS")

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """Refused: a claim is remembered, and nothing is here.

        Raises:
            ImproperlyConfigured: always.
        """
        yield from ()
        raise ImproperlyConfigured(f"once=True (task {key}) needs a result store: set TASKQ_RESULTS")

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> Flow[float | None]:
        """Refused: a rate is kept by what is remembered, and nothing is here.

        Raises:
            ImproperlyConfigured: always.
        """
        yield from ()
        raise ImproperlyConfigured(f"the rate limit of {key} needs a result store: set TASKQ_RESULTS")
