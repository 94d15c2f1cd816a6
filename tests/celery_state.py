"""No test leaves another one a current application, a default application or shared tasks of Celery's interface."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest

PACKAGES = ("taskq_cloud.celery", "celery")


@pytest.fixture(autouse=True)
def _state_of_celery_as_before() -> Iterator[None]:
    """Put back what declarations change for a whole process, in each of the packages that this process has imported.

    A task that isn't declared with ``shared=False`` belongs to every application of the process, also of later tests.
    """
    states = [_state(package) for package in PACKAGES if package == "taskq_cloud.celery" or package in sys.modules]
    before = [(each, each._tls.current_app, each.default_app, set(each._on_app_finalizers)) for each in states]
    yield
    for each, current, default, finalizers in before:
        each._tls.current_app, each.default_app = current, default
        each._on_app_finalizers.intersection_update(finalizers)


def _state(package: str) -> Any:
    for module in ("app.builtins", "contrib.testing.tasks"):  # a module declares its tasks once in a process
        importlib.import_module(f"{package}.{module}")
    return importlib.import_module(f"{package}._state")
