"""The compatibility page says what the adapters declare."""

from pathlib import Path

from taskq_cloud.brokers.registry import BROKERS
from taskq_cloud.stores.results.registry import STORES
from tests.docs import compatibility

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"


def test_the_page_is_what_the_adapters_declare():
    assert PAGE.read_text() == compatibility.page(), "run: python -m tests.docs.compatibility > docs/compatibility.md"


def test_every_adapter_has_its_column():
    for registry, urls in ((BROKERS, compatibility.BROKER_URLS), (STORES, compatibility.STORE_URLS)):
        targets = {registry.known[url.partition(":")[0]] for url in urls.values()}
        assert targets == set(registry.known.values())
