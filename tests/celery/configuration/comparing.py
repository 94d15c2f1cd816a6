"""Runs one scenario on Celery and on ``taskq_cloud.celery``, and compares the outcomes."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

Scenario = Callable[[ModuleType], Any]


def outcome(module: ModuleType, scenario: Scenario) -> Any:
    """What a scenario returns, or the type and the text of the error that it raises."""
    try:
        return scenario(module)
    except Exception as error:
        return type(error).__name__, str(error)


def compare(path: str, scenario: Scenario) -> Any:
    """Assert that a scenario has one outcome with both modules of a path, and return it.

    Args:
        path: the path of the module in both packages: ``app.utils``.
        scenario: takes the module, and returns what is compared.
    """
    theirs = outcome(import_module(f"celery.{path}"), scenario)
    ours = outcome(import_module(f"taskq_cloud.celery.{path}"), scenario)
    assert ours == theirs
    return ours
