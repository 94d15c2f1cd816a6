"""The fixture of docs/local-stacks.md starts a stack, on which the page's test passes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from emulators.aws import Ministack
from emulators.ports import free_port
from tests.docs.projects import PYTEST, run_in, write_project

pytestmark = pytest.mark.slow


def test_project_passes_its_test_on_its_own_stack(tmp_path: Path) -> None:
    if (reason := Ministack.missing()) is not None:
        pytest.skip(reason)
    write_project("local-stacks.md", tmp_path)
    fixture = tmp_path / "tests" / "conftest.py"
    fixture.write_text(fixture.read_text().replace("4566", str(free_port())))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ran = run_in(tmp_path, PYTEST, PATH=path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout
