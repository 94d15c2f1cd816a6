"""Fixtures of one project that is loaded twice: with Celery, and with ``taskq_cloud.celery``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskq_cloud.core.model.capabilities import dead_letter_queue
from tests.celery.interop.loading import PACKAGES, PROJECT, Project

pytest.importorskip("celery")


@pytest.fixture
def queue(make_queue: Callable[..., str], aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    name = make_queue("shop")
    make_queue(dead_letter_queue(name), exactly=True)
    monkeypatch.setenv("INTEROP_QUEUE", name)
    return name


@pytest.fixture
def second_queue(make_queue: Callable[..., str], queue: str, monkeypatch: pytest.MonkeyPatch) -> str:
    name = make_queue("second")
    make_queue(dead_letter_queue(name), exactly=True)
    monkeypatch.setenv("INTEROP_SECOND_QUEUE", name)
    return name


@pytest.fixture
def table(make_table: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> str:
    name = make_table()
    monkeypatch.setenv("INTEROP_TABLE", name)
    return name


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "journal"
    path.touch()
    monkeypatch.setenv("INTEROP_JOURNAL", str(path))
    return path


@pytest.fixture
def sides(
    queue: str, second_queue: str, table: str, journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Project]]:
    """The project of each package, by the package's name."""
    monkeypatch.syspath_prepend(str(PROJECT))
    sys.modules.pop("shop_errors", None)
    loaded = {package: Project(package, tmp_path / package) for package in PACKAGES}
    yield loaded
    for project in loaded.values():
        project.close()
