"""Every scenario has one outcome with Celery and with ``taskq_cloud.celery``, but for the listed differences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.celery.scenarios.differences import DIFFERENCES
from tests.celery.scenarios.running import names, outcomes


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of this test run, which the processes of pytest-xdist share."""
    own = tmp_path_factory.getbasetemp()
    shared = (own if worker_id == "master" else own.parent) / "scenarios"
    shared.mkdir(exist_ok=True)
    return shared


SLOW = frozenset({"errors_on_worker", "nested_on_worker", "processes", "settings_on_worker"})
"""Modules whose worker is a program, or whose subject two shorter ones have: tasks and workflows on a worker."""


def parameter(module: str, name: str) -> Any:
    """The parameters of the test of a scenario."""
    return pytest.param(module, name, id=f"{module}.{name}", marks=[pytest.mark.slow] if module in SLOW else [])


@pytest.mark.parametrize(("module", "name"), [parameter(*each) for each in names()])
def test_scenario_has_outcome_of_celery(module: str, name: str, folder: Path) -> None:
    theirs = outcomes("celery", module, folder)[name]
    ours = outcomes("taskq_cloud.celery", module, folder)[name]
    if f"{module}.{name}" in DIFFERENCES:
        assert ours != theirs, "this difference has vanished: remove it from the table"
    else:
        assert ours == theirs


def test_every_listed_difference_is_of_a_scenario() -> None:
    assert set(DIFFERENCES) <= {".".join(each) for each in names()}
