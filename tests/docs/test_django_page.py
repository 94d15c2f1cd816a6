"""The project of docs/django.md passes its own tests, and a worker serves it from the database that a request wrote."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.projects import environment_for, require, run_in, write_project

pytestmark = pytest.mark.slow

SETTINGS = {"DJANGO_SETTINGS_MODULE": "shop.settings"}
PLACE_ORDER = """
import django
django.setup()
from django.test import Client
response = Client(SERVER_NAME="localhost").post("/orders/", {"customer": "ada@example.com"})
assert response.status_code == 201, response
"""
READ_RECEIPT = """
import django
django.setup()
from orders.models import Order
print(Order.objects.get().receipt)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The page's project, with the empty files and the migration that Django's own commands make."""
    require("django")
    write_project("django.md", tmp_path)
    (tmp_path / "orders" / "migrations").mkdir()
    for package in ("orders", "orders/migrations"):
        (tmp_path / package / "__init__.py").touch()
    made = run_in(tmp_path, ["django", "makemigrations", "orders"], **SETTINGS)
    assert made.returncode == 0, made.stderr
    return tmp_path


def run_code(project: Path, code: str) -> str:
    environment = environment_for(project, SETTINGS)
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_project_passes_its_tests(project: Path) -> None:
    ran = run_in(project, ["django", "test"], **SETTINGS, BROKER="memory://", RESULTS="memory://")
    assert ran.returncode == 0, ran.stderr
    assert "Ran 2 tests" in ran.stderr


def test_worker_writes_the_receipt_of_an_order(project: Path) -> None:
    assert run_in(project, ["django", "migrate"], **SETTINGS).returncode == 0
    run_code(project, PLACE_ORDER)
    worked = run_in(project, ["taskq_cloud", "worker", "-A", "shop.worker", "--burst"])
    assert worked.returncode == 0, worked.stderr
    assert run_code(project, READ_RECEIPT) == "Receipt 1 for ada@example.com\n"
