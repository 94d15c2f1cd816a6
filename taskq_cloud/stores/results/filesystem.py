"""Stores results as files of a folder, with the names and the documents of Celery's file-system backend.

=============================  =======================================================================================
``celery-task-meta-<id>``      a task's result document, with our fields in it: see ``_embedded_fields``
``taskq-join-<join>``          the arrivals at a join: see ``_appended_joins``
``taskq-claim-<key>``          the fenced lock on a claimed key
``taskq-rate-<key>``           the next slot of a rate limit
``.taskq/``                    what the client needs: locks, and the pipes of processes that wait
=============================  =======================================================================================

Each write names the version of the file that was read (``_documents``), and the client makes it under a lock
(``taskq_cloud.clients.filesystem``). Celery writes without locks: its last write stands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult

from taskq_cloud.core.file_errors import operational_error
from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Trouble
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.ports import Service
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured, OperationalError
from taskq_cloud.stores.buckets import FailureKind, StoredObject, StoreErrors, Write
from taskq_cloud.stores.results import _appended_joins as joins
from taskq_cloud.stores.results._documents import DocumentResults
from taskq_cloud.stores.results._embedded_fields import EXPIRY_PATTERN, embedded, object_in
from taskq_cloud.stores.results._keys import key_of, key_prefix
from taskq_cloud.stores.results._object_joins import Arrival

LARGEST_RECORD_BYTES: Final = 64 * 1024 * 1024
"""The largest payload of one record: it is in memory several times while it is made, written and read."""

RESERVATIONS_PER_SECOND: Final = 50
"""The most reservations of one key in a second: each one waits for the disk, and writers that conflict start again."""

_LONGEST_NAME: Final = 255
"""The longest name of a file, in bytes, on the usual file systems."""

_CHANGED: Final = "Changed"


class FileResults(DocumentResults):
    """The store behind ``file:///folder``.

    Args:
        folder: the folder; the first call creates it if it is missing.
        options: ``result_backend_transport_options``: ``global_keyprefix``.
        clock: returns the time, in seconds since the epoch.
    """

    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(
        largest_record_bytes=LARGEST_RECORD_BYTES,
        joins=True,
        claims=True,
        reservations_per_second=RESERVATIONS_PER_SECOND,
        shared_between_processes=True,
        durable=True,
        saves_together=True,
        loads_together=True,
    )
    keeps_bytes = True

    def __init__(
        self,
        folder: str | Path,
        options: Mapping[str, Any] | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # The path is made absolute, so that a later change of the working directory doesn't lead to another folder.
        self._folder = str(Path(folder).absolute())
        self._service = f"file:{self._folder}"
        prefix = key_prefix(options or {})
        if "/" in prefix:
            raise ImproperlyConfigured(f"global_keyprefix {prefix!r}: the name of a file can't have a /")
        self._files = _Files(self._service, self._folder, prefix, clock)
        super().__init__(self._files, prefix, clock)

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> FileResults:
        """Make the store for ``file:///absolute/folder``, or ``file://folder`` below the working directory.

        Raises:
            ImproperlyConfigured: the URL names no folder.
        """
        query_of(url)
        # Celery takes the path as it is written, without %-escapes.
        folder = url.path if url.netloc == "localhost" else f"{url.netloc}{url.path}"
        if not folder.strip("/"):
            raise ImproperlyConfigured(f"{shown(url)} names no folder: write file:///absolute/folder")
        return cls(folder, options)

    @property
    def services(self) -> Mapping[str, Service]:
        """The client of the folder."""
        return {self._service: Service("filesystem", (("path", self._folder),))}

    def listen(self, ids: Sequence[str], listener: Listener) -> Flow[bool]:
        """Let a listener hear of the ends of tasks: see ``TellsOfEnds.listen``. Celery's writes are not heard."""
        topics = {self._key(each): each for each in ids}
        answer = yield Call(self._service, "listen", {"listener": listener, "topics": topics})
        return bool(answer)

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Count a member, in one call: see ``ResultStore.join`` and ``_appended_joins``."""
        line = joins.line_of(Arrival(int(member), self._clock(), expires_at))
        parameters = {"name": self._name("join", join_id), "value": line, "sweep": self._files.sweep()}
        (answer,) = yield Gather([Call(self._service, "append", parameters)])
        return joins.is_complete(self._files.errors.check(answer), line, size)

    def _key(self, task_id: str) -> str:
        return _name(f"{self.prefix}celery-task-meta-", task_id)

    def _name(self, kind: str, key: str) -> str:
        return _name(f"{self.prefix}taskq-{kind}-", key)


class _FileErrors(StoreErrors):
    """Translates the failed calls of a folder."""

    def error(self, failure: CallError) -> OperationalError:
        """The error of a failed call, which names the file and the remedy."""
        return operational_error("the result store can't be used", failure)


class _Files:
    """The files of a folder: see ``stores.buckets.Collection``."""

    reads_together = 100
    writes_together = 100
    deletes_versions = False
    created_early = False

    def __init__(self, service: str, folder: str, prefix: str, clock: Callable[[], float]) -> None:
        kinds = {_CHANGED: FailureKind.CONDITION_FAILED}
        self.errors: StoreErrors = _FileErrors(f"the folder {folder}", "", kinds, {})
        self._service = service
        self._beginnings = (f"{prefix}celery-task-meta-", f"{prefix}taskq-")
        self._clock = clock

    def creation(self) -> Sequence[Call]:
        return ()

    def get(self, keys: Sequence[str]) -> Call:
        return Call(self._service, "read", {"names": list(keys)})

    def found(self, keys: Sequence[str], answer: Any) -> Mapping[str, StoredObject]:
        return {key: object_in(*each) for key, each in answer.items()}

    def put(self, writes: Sequence[Write]) -> Call:
        values = [(each.key, embedded(each.new), None if each.over is None else each.over.tag) for each in writes]
        return Call(self._service, "write", {"writes": values, "sweep": self.sweep()})

    def sweep(self) -> dict[str, Any]:
        return {"beginnings": self._beginnings, "pattern": EXPIRY_PATTERN, "now": self._clock()}

    def outcomes(self, call: Call, answer: Any) -> Sequence[Any]:
        if answer is None:  # of ``delete``
            return [None] * len(call.parameters["names"])
        changed = CallError(call, _CHANGED, "the file has changed", Trouble.REFUSED)
        return [made or changed for made in answer]

    def delete(self, found: Mapping[str, StoredObject | None]) -> Call:
        return Call(self._service, "delete", {"names": list(found)})


def _name(beginning: str, name: str) -> str:
    try:
        fits = b"/" not in name.encode() and b"\0" not in name.encode()
    except UnicodeEncodeError:
        fits = False
    return key_of(beginning, name, most_bytes=_LONGEST_NAME, fits=fits)
