"""The page docs/compatibility.md shows the capabilities that the adapters declare."""

from __future__ import annotations

from pathlib import Path

from taskq_cloud.brokers.registry import BROKERS
from taskq_cloud.stores.results.registry import STORES
from tests.docs import compatibility

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"


def test_page_shows_declared_capabilities() -> None:
    assert PAGE.read_text() == compatibility.page(), "run: python -m tests.docs.compatibility > docs/compatibility.md"


def test_adapters_are_all_in_the_tables() -> None:
    for registry, urls in ((BROKERS, compatibility.BROKER_URLS), (STORES, compatibility.STORE_URLS)):
        schemes = [url.partition(":")[0] for url in urls.values()]
        targets = {registry.known.get(each) or registry.families[each.partition("+")[0]] for each in schemes}
        assert targets == {*registry.known.values(), *registry.families.values()}
