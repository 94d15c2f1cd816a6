"""A result store that keeps nothing: ``disabled://``, which is Celery's name for having no result backend.

Tasks run, but their states and results can't be read. A message that is redelivered runs its task again, since there is
no record of the first run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import SplitResult

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.ports import Service
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
        """Make the store for ``disabled://``."""
        return cls()

    @property
    def services(self) -> Mapping[str, Service]:
        """No clients: the store makes no calls."""
        return {}

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Find no records."""
        yield from ()
        return {}

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Report every record as written, since no stored record stands against it. Nothing is written."""
        yield from ()
        return [True] * len(records)

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Do nothing: there are no records."""
        yield from ()

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Refuse to count a member, since nothing is stored.

        Raises:
            ImproperlyConfigured: always.
        """
        yield from ()
        raise ImproperlyConfigured(f"join {join_id}: no result store is configured: set TASKQ_RESULTS")

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """Refuse to lock a key, since nothing is stored.

        Raises:
            ImproperlyConfigured: always.
        """
        yield from ()
        raise ImproperlyConfigured(f"task {key}: once=True needs a result store: set TASKQ_RESULTS")

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> Flow[float | None]:
        """Refuse to give out a slot, since nothing is stored.

        Raises:
            ImproperlyConfigured: always.
        """
        yield from ()
        raise ImproperlyConfigured(f"the rate limit of {key} needs a result store: set TASKQ_RESULTS")
