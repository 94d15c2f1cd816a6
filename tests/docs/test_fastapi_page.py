"""The project of docs/fastapi.md passes its own tests, and a worker finds its application."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.projects import PYTEST, require, run_in, write_project

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    require("fastapi", "httpx")
    write_project("fastapi.md", tmp_path)
    return tmp_path


def test_project_passes_its_tests(project: Path) -> None:
    ran = run_in(project, PYTEST)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "3 passed" in ran.stdout


def test_worker_finds_the_application(project: Path) -> None:
    sent = run_in(project, ["taskq_cloud", "-A", "shop.tasks", "call", "shop.tasks.resize", "--args", '["a.png", 200]'])
    assert sent.returncode == 0, sent.stderr
    worked = run_in(project, ["taskq_cloud", "worker", "-A", "shop.tasks", "--burst", "-P", "solo"])
    assert worked.returncode == 0, worked.stderr
    assert "shop.tasks.resize" in worked.stderr
