"""Finding a result store by its URL."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.results.registry import store_from_url


@pytest.fixture
def installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package that registers a result store."""
    (tmp_path / "floppy_results.py").write_text(
        "class FloppyResults:\n"
        "    @classmethod\n"
        "    def from_url(cls, url, options):\n"
        "        store = cls()\n"
        "        store.given = (url.netloc, url.path, dict(options))\n"
        "        return store\n"
    )
    metadata = tmp_path / "floppy_results-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: floppy-results\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[taskq_cloud.results]\nfloppy = floppy_results:FloppyResults\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("floppy_results", None)


def test_scheme_of_installed_package_opens_the_packages_store(installed_package: None) -> None:
    store: Any = store_from_url("floppy://Drive-A/label", {"sides": 2})
    assert store.given == ("Drive-A", "/label", {"sides": 2})


def test_error_for_unknown_scheme_lists_known_schemes(installed_package: None) -> None:
    with pytest.raises(ImproperlyConfigured, match="no result store serves 'etcd://") as caught:
        store_from_url("etcd://localhost/0", {})
    for scheme in ("disabled://", "dynamodb://", "floppy://", "memory://", "sqlite://"):
        assert scheme in str(caught.value)


@pytest.mark.parametrize("url", ["", "results.db", "C:\\results.db", "dynamodb:/[/table", "sqlite//x", "://table"])
def test_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        store_from_url(url, {})


def test_error_hides_secrets_of_url() -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        store_from_url("etcd://user:s3cret@localhost/0", {})
    assert "s3cret" not in str(caught.value)
    assert "localhost" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "memory://",
        "disabled://",
        "sqlite:///results.db",
        "dynamodb://results",
        "s3://results",
        "azureblob://results",
        "gs://results",
    ],
)
def test_known_store_opens_without_calls_or_files(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store: Any = store_from_url(url, {})
    assert store.capabilities is type(store).capabilities
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://localhost", "the result store redis:// has no option 'global_keyprefx'; known: failover_strategy, "),
        ("dynamodb://table", "has no option 'global_keyprefx'; known: none; its options are in its URL"),
        ("db+sqlite:///x.db", "global_keyprefx"),
    ],
)
def test_unknown_option_of_a_store_is_refused(url: str, says: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        store_from_url(url, {"global_keyprefx": "shop_"})
    assert says in str(caught.value)


def test_retry_policy_of_celery_is_taken_by_every_store() -> None:
    store_from_url("dynamodb://table", {"retry_policy": {"timeout": 5.0}})
