"""Constructs of "First steps with Django": the project of docs/django.md that uses Celery runs with Celery and here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.projects import environment_for, require, run_in, write_project
from tests.docs.samples import DOCS

pytestmark = pytest.mark.slow

SETTINGS = {"DJANGO_SETTINGS_MODULE": "shop.settings"}
SECTION = "## A project that uses Celery"
BLOCK = re.compile(r"^```python notest\n# (?P<path>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
BOTH = pytest.mark.parametrize("package", ["celery", "taskq_cloud.celery"])
CALL = """
import django
django.setup()
from django.db import transaction
from orders.models import Order
from orders.tasks import send_receipt
from shop.celery import app
with transaction.atomic():
    order = Order.objects.create(customer="ada@example.com")
    assert send_receipt.delay_on_commit(order.pk) is None
from {package}.contrib.testing.worker import start_worker
with start_worker(app, perform_ping_check=False, loglevel="critical"):
    assert send_receipt.delay(order.pk).get(timeout=20) == f"Receipt {{order.pk}} for ada@example.com"
print(type(send_receipt).__name__, app.conf.timezone, sorted(name for name in app.tasks if "orders" in name))
"""


@pytest.fixture
def make_project(tmp_path: Path) -> Path:
    """The page's project, with the files of its section about Celery in place of those for the native interface."""
    require("django")
    write_project("django.md", tmp_path)
    section = (DOCS / "django.md").read_text(encoding="utf-8").partition(SECTION)[2]
    for block in BLOCK.finditer(section):
        path = tmp_path / block["path"]
        before = path.read_text() if path.name == "settings.py" else ""
        path.write_text(before + block["text"])
    (tmp_path / "shop" / "taskq.py").unlink()
    (tmp_path / "shop" / "worker.py").unlink()
    (tmp_path / "shop" / "urls.py").write_text("urlpatterns = []\n")
    (tmp_path / "orders" / "migrations").mkdir()
    for package in ("orders", "orders/migrations"):
        (tmp_path / package / "__init__.py").touch()
    return tmp_path


def for_package(project: Path, package: str) -> None:
    """Change the imports of a project, as a user does; Celery gets a broker in memory, since it has no SQLite."""
    for path in project.rglob("*.py"):
        text = path.read_text().replace("taskq_cloud.celery", package)
        if package == "celery":
            text = text.replace("sqlite:///.taskq/broker.db", "memory://")
            text = text.replace("sqlite:///.taskq/results.db", "cache+memory://")
        path.write_text(text)


@BOTH
def test_task_of_an_installed_application_is_called_after_the_commit(make_project: Path, package: str) -> None:
    for_package(make_project, package)
    for command in (["makemigrations", "orders"], ["migrate"]):
        done = run_in(make_project, ["django", *command], **SETTINGS)
        assert done.returncode == 0, done.stderr
    ran = subprocess.run(
        [sys.executable, "-c", CALL.format(package=package)],
        cwd=make_project,
        env=environment_for(make_project, SETTINGS),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "DjangoTask Europe/Berlin ['orders.tasks.send_receipt']\n" or ran.stdout.endswith(
        "Europe/Berlin ['orders.tasks.send_receipt']\n"
    )
