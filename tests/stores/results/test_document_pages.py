"""The page about document databases says what is so: its code runs, its URLs are read, its numbers are right."""

from __future__ import annotations

import re
from collections.abc import Callable
from uuid import uuid4

import pytest

from taskq_cloud.stores.results import arangodb, cassandra, cosmosdb, couchbase, couchdb, elasticsearch, mongodb, riak
from taskq_cloud.stores.results.registry import store_from_url
from tests.docs.samples import DOCS, Block, assert_prints, blocks_of, open_page

PAGE = "document-results.md"


@pytest.mark.slow
def test_code_of_the_page_runs_on_mongodb(server_url: Callable[[str], str], library_loggers: None) -> None:
    url = f"{server_url('mongodb')}/{uuid4()}"
    with open_page() as page:
        for block in blocks_of(PAGE):
            code = block.code.replace("mongodb://localhost:27017/shop", url)
            assert_prints(block, page.run(Block(block.page, block.line, block.mark, code, block.prints)))


def test_urls_on_the_page_are_read() -> None:
    text = (DOCS / PAGE).read_text()
    urls = sorted(set(re.findall(r"`([a-z+]+://[^`]*host[^`]*)`", text)))
    assert len(urls) > 10
    for url in urls:
        assert store_from_url(url, {}).capabilities.keeps_records


def test_largest_results_on_the_page_are_those_of_the_stores() -> None:
    text = (DOCS / PAGE).read_text()
    sizes = {
        "mongodb": (mongodb.LARGEST_RECORD_BYTES, "15 MB"),
        "elasticsearch": (elasticsearch.LARGEST_RECORD_BYTES, "32 MiB"),
        "couchdb": (couchdb.LARGEST_RECORD_BYTES, "7 MB"),
        "cosmosdb": (cosmosdb.LARGEST_RECORD_BYTES, "1.9 MB"),
        "cassandra": (cassandra.LARGEST_RECORD_BYTES, "4 MB"),
        "couchbase": (couchbase.LARGEST_RECORD_BYTES, "8 MB"),
        "arangodb": (arangodb.LARGEST_RECORD_BYTES, "32 MiB"),
        "riak": (riak.LARGEST_RECORD_BYTES, "4 MB"),
    }
    for extra, (size, shown) in sizes.items():
        number, unit = shown.split()
        assert size == float(number) * {"MB": 1_000_000, "MiB": 1024 * 1024}[unit]
        assert re.search(rf"\| `{extra}` \|[^\n]*\| {re.escape(shown)} \|\n", text), extra
