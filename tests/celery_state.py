"""No test leaves another one a current application, a default application or shared tasks of Celery's interface."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

OURS, CELERY = "taskq_cloud.celery", "celery"


@pytest.fixture(autouse=True)
def _state_of_celery_as_before() -> Iterator[None]:
    """Put back the state of each of the packages that this process has imported."""
    with ExitStack() as packages:
        for package in (OURS, *({CELERY} & sys.modules.keys())):
            packages.enter_context(state_as_before(package))
        yield


@contextmanager
def state_as_before(package: str) -> Iterator[None]:
    """Put back, after a block, what declarations of a package change for a whole process.

    A task that isn't declared with ``shared=False`` belongs to every application of the process, also of later tests.
    """
    for module in ("app.builtins", "contrib.testing.tasks"):  # a module declares its tasks once in a process
        importlib.import_module(f"{package}.{module}")
    state: Any = importlib.import_module(f"{package}._state")
    current, default, finalizers = state._tls.current_app, state.default_app, set(state._on_app_finalizers)
    try:
        yield
    finally:
        state._tls.current_app, state.default_app = current, default
        state._on_app_finalizers.intersection_update(finalizers)
