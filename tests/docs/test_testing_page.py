"""The project of docs/testing.md passes its own tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.projects import PYTEST, run_in, write_project

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_project("testing.md", tmp_path)
    return tmp_path


def test_project_passes_its_tests(project: Path) -> None:
    ran = run_in(project, [*PYTEST, "--ignore=tests/test_on_aws.py"])
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "7 passed" in ran.stdout


def test_project_passes_its_test_on_aws(project: Path, aws_environment: dict[str, str]) -> None:
    ran = run_in(project, [*PYTEST, "tests/test_on_aws.py"], **aws_environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout


def test_test_on_aws_is_skipped_without_a_stack(project: Path) -> None:
    ran = run_in(project, [*PYTEST, "-rs", "tests/test_on_aws.py"])
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "AWS_ENDPOINT_URL names no local AWS stack" in ran.stdout
