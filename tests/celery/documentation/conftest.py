"""The packages on which the documentation's constructs run."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.celery.documentation.sides import Side


@pytest.fixture(params=[pytest.param("celery", marks=pytest.mark.slow), "taskq_cloud.celery"], ids=["celery", "ours"])
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    """Each of the two packages. The examples leave no current application and no shared tasks behind."""
    yield from _side(request.param)


@pytest.fixture
def ours() -> Iterator[Side]:
    """This package alone, for an example that Celery can't run here."""
    yield from _side("taskq_cloud.celery")


def _side(package: str) -> Iterator[Side]:
    state: Any = importlib.import_module(f"{package}._state")
    importlib.import_module(f"{package}.app.builtins")  # it adds tasks to every application
    current, default = state._tls.current_app, state.default_app
    finalizers = set(state._on_app_finalizers)
    side = Side(package)
    yield side
    side.close()
    state._tls.current_app, state.default_app = current, default
    state._on_app_finalizers.clear()
    state._on_app_finalizers.update(finalizers)
