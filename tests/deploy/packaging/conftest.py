"""Fixtures: a packaged application, and AWS's runtime client, which runs the package as Lambda does."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from emulators.aws.programs.runtime_api import RuntimeApi
from taskq_cloud.deploy.packaging import contents
from taskq_cloud.deploy.packaging.build import Package, Plan, build
from taskq_cloud.deploy.packaging.contents import Requirements
from taskq_cloud.deploy.packaging.target import Target
from tests.serverless.started_function import started_function

SHOP = '''
"""The shop's tasks."""

import logging

from taskq_cloud import TaskQ

app = TaskQ("shop")


@app.task(time_limit=20)
def add(a, b):
    logging.getLogger("shop").warning("adding")
    return a + b


@app.task(time_limit=20)
def placed(event):
    return event["detail"]["order"]
'''

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
RUNTIME_PACKAGES = (
    "awslambdaric",
    "runtime_client",
    "simplejson",
    "snapshot_restore_py",
    "botocore",
    "dateutil",
    "jmespath",
    "six",
    "urllib3",
)


def write_shop(folder: Path) -> Path:
    """Write the application's package to a folder, beside files that don't belong in a function."""
    (folder / "shop").mkdir(parents=True)
    (folder / "shop" / "__init__.py").write_text("")
    (folder / "shop" / "tasks.py").write_text(SHOP)
    (folder / "shop" / ".env").write_text("TASKQ_BROKER=sqs://")
    (folder / "prices.py").write_text("BREAD = 3\n")
    (folder / ".venv").mkdir()
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_shop(tmp_path / "source")


@pytest.fixture
def make_plan(source: Path, tmp_path: Path) -> Callable[..., Plan]:
    def make(**changes: Any) -> Plan:
        plain = {"app": "shop.tasks:app", "source": source, "target": Target(HERE), "output": tmp_path / "dist"}
        return Plan(**{**plain, **changes})

    return make


class Installs:
    """Installs like ``contents.install``, but copies requirements that were installed before: pip takes seconds.

    Args:
        folder: the folder for the copies.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[str, Path] = {}
        self._install = contents.install

    def install(self, requirements: Requirements, target: Target, destination: Path) -> None:
        """Install requirements as ``contents.install`` does; a failed installation is tried again."""
        key = repr((requirements, target))
        if key not in self._kept:
            kept = self._folder / str(len(self._kept))
            self._install(requirements, target, kept)
            self._kept[key] = kept
        shutil.copytree(self._kept[key], destination, dirs_exist_ok=True)


@pytest.fixture(scope="session")
def installs(tmp_path_factory: pytest.TempPathFactory) -> Installs:
    return Installs(tmp_path_factory.mktemp("installs"))


@pytest.fixture
def once_installed(installs: Installs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install equal requirements only once in a run, for tests that are not about pip."""
    monkeypatch.setattr(contents, "install", installs.install)


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory, installs: Installs) -> tuple[Package, list[Path]]:
    """Return a package with a layer and all modules of its source, and the folders of its unpacked archives."""
    folder = tmp_path_factory.mktemp("packaged")
    source = write_shop(folder / "source")
    plan = Plan(
        app="shop.tasks:app",
        source=source,
        target=Target(HERE),
        output=folder / "dist",
        include=["prices"],
        layer=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "install", installs.install)
        package, folders = build(plan), list[Path]()
    for archive in package.archives:
        folders.append(folder / "lambda" / archive.path.stem)
        with zipfile.ZipFile(archive.path) as file:
            file.extractall(folders[-1])
    return package, folders


@pytest.fixture
def run_function(tmp_path: Path) -> Callable[..., Any]:
    """Return a function that runs unpacked archives with no other packages than those of Lambda's runtime."""
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for name in RUNTIME_PACKAGES:
        found = importlib.util.find_spec(name)
        assert found and found.origin, f"{name} is not installed: pip install -e '.[all]' --group test"
        path = Path(found.origin)
        path = path.parent if path.name == "__init__.py" else path
        (runtime / path.name).symlink_to(path)

    def run(
        folders: list[Path], environment: dict[str, str]
    ) -> AbstractContextManager[tuple[RuntimeApi, subprocess.Popen[str]]]:
        function, *layers = folders
        path = os.pathsep.join(map(str, [function, *(layer / "python" for layer in layers), runtime]))
        variables = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
            "LAMBDA_TASK_ROOT": str(function),
            "AWS_LAMBDA_FUNCTION_NAME": "packaged",
            **environment,
        }
        # -S hides the packages that are installed here.
        return started_function(function, variables, "-S")

    return run
