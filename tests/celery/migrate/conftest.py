"""Fixtures: copies of the projects in ``projects``.

Their files end in ``.txt``, so that the linters and the type checker don't take code of Celery's users for our own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from taskq_cloud.cli import main

PROJECTS = Path(__file__).parent / "projects"

Migrate = Callable[..., Result]


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[str], Path]:
    """Copy a project to a folder of its own."""

    def copy_of(name: str) -> Path:
        for file in (PROJECTS / name).rglob("*.txt"):
            copy = tmp_path / name / file.relative_to(PROJECTS / name).with_suffix("")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        return tmp_path / name

    return copy_of


@pytest.fixture
def migrate() -> Migrate:
    """Run ``taskq migrate``, and don't import the project unless told to."""

    def migrate(*arguments: Any, imports: bool = False) -> Result:
        more = () if imports else ("--no-import",)
        return CliRunner().invoke(main, ["migrate", *map(str, arguments), *more])

    return migrate
