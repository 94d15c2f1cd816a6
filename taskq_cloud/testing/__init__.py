"""Helpers for the tests of an application, and of a new broker or store.

``run_tasks`` runs an application's tasks in the thread of a test. ``FakeClock`` and ``Drive`` are for tests of
adapters, as are the contract suites in ``taskq_cloud.testing.contracts``, which need pytest and hypothesis.
"""

from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.driving import Drive
from taskq_cloud.testing.tasks import run_tasks

__all__ = ["Drive", "FakeClock", "run_tasks"]
