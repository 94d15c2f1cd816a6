"""Tests of the search for an interpreter of the target's Python version."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from taskq_cloud.deploy.packaging.target import Target

OTHER = "3.13" if sys.version_info[:2] != (3, 13) else "3.12"


def test_running_version_uses_running_interpreter() -> None:
    major, minor = sys.version_info[:2]
    assert Target(f"{major}.{minor}").interpreter() == sys.executable


@pytest.mark.parametrize(("script", "usable"), [("exit 0", True), ("echo 'command not found'; exit 127", False)])
def test_interpreter_on_path_is_used_if_it_starts(
    script: str, usable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tmp_path / f"python{OTHER}"
    found.write_text(f"#!/bin/sh\n{script}\n")
    found.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Target(OTHER).interpreter() == (str(found) if usable else None)


def test_missing_interpreter_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Target(OTHER).interpreter() is None
