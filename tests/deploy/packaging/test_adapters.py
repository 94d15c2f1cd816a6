"""Tests of the adapters that a package has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from taskq_cloud.brokers.registry import BROKERS
from taskq_cloud.deploy.packaging import contents
from taskq_cloud.deploy.packaging.adapters import ADAPTERS
from taskq_cloud.deploy.packaging.contents import Requirements
from taskq_cloud.stores.results.registry import STORES

_CLOUD = frozenset({"azureblob", "azureblockblob", "disabled", "dynamodb", "gs", "memory", "pubsub", "s3"})
_ALWAYS = _CLOUD | {"sqlite", "sqs"}

_IMPORT = """
import importlib, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
"""


def packaged(folder: Path, *extras: str) -> Path:
    """The library as it is in the package of an application, in a folder."""
    application = folder / "application"
    application.mkdir()
    (application / "shop.py").write_text("from taskq_cloud import TaskQ\n")
    library = folder / "library"
    library.mkdir()
    contents.copy_library(library, contents.left_out(application, Requirements(extras=extras)))
    return library


def modules_of(schemes: frozenset[str]) -> list[str]:
    return sorted(
        {path.partition(":")[0] for known in (BROKERS.known, STORES.known) for s, path in known.items() if s in schemes}
    )


def imported(library: Path, *modules: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _IMPORT, *modules],
        env={"PYTHONPATH": str(library)},
        cwd=library,
        capture_output=True,
        text=True,
        check=False,
    )


def test_package_without_extras_has_the_adapters_of_cloud_services_only(tmp_path: Path) -> None:
    library = packaged(tmp_path)
    ran = imported(library, *modules_of(_ALWAYS))
    assert ran.returncode == 0, ran.stderr
    others = modules_of(frozenset({*BROKERS.known, *STORES.known} - _ALWAYS))
    assert [each for each in others if (library / f"{each.replace('.', '/')}.py").exists()] == []


@pytest.mark.parametrize(
    ("extra", "schemes"),
    [
        ("redis", {"redis"}),
        ("rabbitmq", {"amqp", "rpc"}),
        ("postgresql", {"postgresql"}),
        ("memcached", {"memcached"}),
        ("files", {"file"}),
        ("mongodb", {"mongodb"}),
        ("elasticsearch", {"elasticsearch"}),
        ("couchdb", {"couchdb"}),
        ("couchbase", {"couchbase"}),
        ("cassandra", {"cassandra"}),
        ("arangodb", {"arangodb"}),
        ("cosmosdb", {"cosmosdbsql"}),
        ("riak", {"riak"}),
        ("django", {"django-db", "django-cache"}),
    ],
)
def test_extra_brings_its_adapters(extra: str, schemes: set[str], tmp_path: Path) -> None:
    ran = imported(packaged(tmp_path, extra), *modules_of(frozenset(schemes)))
    assert ran.returncode == 0, ran.stderr


def test_extra_for_sqlalchemy_brings_its_store(tmp_path: Path) -> None:
    ran = imported(
        packaged(tmp_path, "mysql"), "taskq_cloud.stores.results.sqlalchemy", "taskq_cloud.clients.sqlalchemy"
    )
    assert ran.returncode == 0, ran.stderr


def test_patterns_find_modules() -> None:
    library = Path(contents.__file__).parents[2]
    empty = {pattern for patterns in ADAPTERS.values() for pattern in patterns if not [*library.glob(pattern)]}
    assert empty == set()


def test_missing_adapter_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "from taskq_cloud.brokers.registry import BROKERS; BROKERS.open('redis://host', {})"],
        env={"PYTHONPATH": str(packaged(tmp_path))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "this package was built without the adapter for redis://: build it with taskq package --extra" in ran.stderr
