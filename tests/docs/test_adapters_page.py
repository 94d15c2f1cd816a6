"""The broker of docs/adapters.md passes the contract suite, and an application uses it once it is installed."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.docs.projects import PYTEST, files_of, run_in, write_project

pytestmark = pytest.mark.slow

PAGE = "adapters.md"
SHOP = """
from taskq_cloud import TaskQ

app = TaskQ("shop")


@app.task
def resize(key: str, width: int) -> str:
    return f"{width}/{key}"
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with the page's files, and the metadata that pip would write from the page's pyproject.toml."""
    write_project(PAGE, tmp_path)
    project = tomllib.loads(files_of(PAGE)["pyproject.toml"])["project"]
    metadata = tmp_path / "folder_broker-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [
        line
        for group, entries in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    return tmp_path


def test_example_passes_the_contract_suite(installed: Path) -> None:
    ran = run_in(installed, PYTEST)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout


def test_application_uses_the_installed_broker(installed: Path) -> None:
    (installed / "shop.py").write_text(SHOP)
    settings = {"TASKQ_APP": "shop", "TASKQ_BROKER": "folder:///spool", "TASKQ_RESULTS": "sqlite:///results.db"}
    called = run_in(installed, ["taskq_cloud", "call", "shop.resize", "--args", '["a.png", 200]'], **settings)
    assert called.returncode == 0, called.stderr
    served = run_in(installed, ["taskq_cloud", "worker", "--burst", "-P", "solo"], **settings)
    assert served.returncode == 0, served.stderr
    result = run_in(installed, ["taskq_cloud", "result", "-q", called.stdout.strip()], **settings)
    assert "200/a.png" in result.stdout, result.stdout + result.stderr
    assert not list((installed / "spool").rglob("*.json"))


def test_unreadable_folder_is_an_error_that_names_the_queue(installed: Path) -> None:
    (installed / "shop.py").write_text(SHOP)
    (installed / "spool").write_text("a file is in the way")
    settings = {"TASKQ_APP": "shop", "TASKQ_BROKER": "folder:///spool", "TASKQ_RESULTS": "disabled://"}
    called = run_in(installed, ["taskq_cloud", "call", "shop.resize", "--args", '["a.png", 200]'], **settings)
    assert called.returncode == 1
    assert "queue 'celery'" in called.stderr
