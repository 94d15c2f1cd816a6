"""The global state of a worker under Celery's names: its requests and counters, as far as a project reads them.

The native worker keeps its own state, and the result store keeps what is revoked. So the collections here stay empty
unless a project fills them.
"""

from __future__ import annotations

import platform
from collections import Counter
from typing import Any, Final
from weakref import WeakSet

from taskq_cloud.celery import __version__
from taskq_cloud.celery.exceptions import WorkerShutdown, WorkerTerminate
from taskq_cloud.celery.utils.collections import LimitedSet

__all__ = (
    "SOFTWARE_INFO",
    "active_requests",
    "maybe_shutdown",
    "merge_revoked",
    "reserved_requests",
    "revoked",
    "scheduled_requests",
    "successful_requests",
    "task_accepted",
    "task_ready",
    "task_reserved",
    "task_scheduled",
    "total_count",
)

SOFTWARE_INFO: Final = {"sw_ident": "py-celery", "sw_ver": __version__, "sw_sys": platform.system()}
REVOKES_MAX: Final = 50000
REVOKE_EXPIRES: Final = 10800.0
SUCCESSFUL_MAX: Final = 1000
SUCCESSFUL_EXPIRES: Final = 10800.0

requests: dict[str, Any] = {}
reserved_requests: WeakSet[Any] = WeakSet()
active_requests: WeakSet[Any] = WeakSet()
scheduled_requests: WeakSet[Any] = WeakSet()
total_count: Counter[str] = Counter()
all_total_count = [0]
revoked: Any = LimitedSet(maxlen=REVOKES_MAX, expires=REVOKE_EXPIRES)
revoked_stamps: dict[str, Any] = {}
successful_requests: Any = LimitedSet(maxlen=SUCCESSFUL_MAX, expires=SUCCESSFUL_EXPIRES)
"""The ids of tasks that have succeeded, for messages that are delivered again."""

should_stop: Any = None
"""The exit code with which a worker is to stop; None: it goes on."""
should_terminate: Any = None
"""The exit code with which a worker is to end at once; None: it goes on."""


def reset_state() -> None:
    """Forget everything."""
    requests.clear()
    for collection in (reserved_requests, active_requests, scheduled_requests, total_count, revoked):
        collection.clear()
    all_total_count[:] = [0]


def maybe_shutdown() -> None:
    """Raise the error that ends a worker, if it is to end.

    Raises:
        WorkerTerminate: the worker is to end at once.
        WorkerShutdown: the worker is to stop.
    """
    if should_terminate is not None and should_terminate is not False:
        raise WorkerTerminate(should_terminate)
    if should_stop is not None and should_stop is not False:
        raise WorkerShutdown(should_stop)


def task_reserved(request: Any) -> None:
    """Note that a worker holds a request."""
    requests[request.id] = request
    reserved_requests.add(request)
    scheduled_requests.discard(request)


def task_scheduled(request: Any) -> None:
    """Note that a worker holds a request whose task isn't due yet."""
    requests[request.id] = request
    scheduled_requests.add(request)


def merge_revoked(task_ids: Any) -> None:
    """Add ids to the revoked ones."""
    if task_ids:
        revoked.update(list(task_ids))


def task_accepted(request: Any) -> None:
    """Note that a request's task runs."""
    requests[request.id] = request
    active_requests.add(request)
    total_count.update({request.name: 1})
    all_total_count[0] += 1


def task_ready(request: Any, successful: bool = False) -> None:
    """Note that a request's task has ended."""
    requests.pop(request.id, None)
    active_requests.discard(request)
    reserved_requests.discard(request)
