"""The page docs/compatibility.md shows the capabilities that the adapters declare."""

from __future__ import annotations

from pathlib import Path

from taskq_cloud.brokers.registry import BROKERS
from taskq_cloud.stores.results.registry import STORES
from tests.docs import compatibility

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"


def test_page_shows_declared_capabilities() -> None:
    assert PAGE.read_text() == compatibility.page(), "run: python -m tests.docs.compatibility > docs/compatibility.md"


def test_adapters_have_a_column_each() -> None:
    for registry, urls in ((BROKERS, compatibility.BROKER_URLS), (STORES, compatibility.STORE_URLS)):
        targets = {registry.known[url.partition(":")[0]] for url in urls.values()}
        assert targets == set(registry.known.values())
