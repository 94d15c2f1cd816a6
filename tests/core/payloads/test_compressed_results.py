"""Compressed results: ``result_compression``."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery.backends.base import compress_payload, decompress_payload

from taskq_cloud import TaskQ
from taskq_cloud.core.payloads.compressed_results import CompressedResults
from taskq_cloud.core.payloads.large_results import LargeResults
from taskq_cloud.core.records.compressed import packed, unpacked
from taskq_cloud.errors import ContentDisallowed, DecodeError, ImproperlyConfigured
from taskq_cloud.stores.results.sqlite import SQLiteResults
from taskq_cloud.testing.contracts.result_store import a_record
from taskq_cloud.testing.driving import driving


@pytest.mark.parametrize("compression", ["gzip", "zlib", "bzip2", "lzma"])
def test_form_is_celerys(compression: str) -> None:
    text = '{"result": "größe"}'
    assert unpacked(compress_payload(text.encode(), compression)) == text
    assert decompress_payload(packed(text, compression)) == text.encode()
    assert unpacked(text.encode()) == text


@pytest.mark.parametrize(
    ("stored", "error"),
    [
        (b"\x00celery-compressed\x00application/x-gzip\x00damaged", DecodeError),
        (b"\x00celery-compressed\x00application/x-gzip", DecodeError),
        (b"\x00celery-compressed\x00application/br\x00abc", ContentDisallowed),
        (b"\x00celery-compressed\x00\xff\x00abc", ContentDisallowed),
        (b"\xff", DecodeError),
    ],
)
def test_damaged_bytes_are_refused(stored: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        unpacked(stored)


@pytest.mark.parametrize("value", ["small", "x" * 200_000], ids=["small", "large"])
@pytest.mark.parametrize("driver", ["sync", "async"])
@pytest.mark.parametrize("method", ["save", "save_each"])
def test_saved_record_is_small_in_the_file_and_read_by_every_reader(
    tmp_path: Path, value: str, driver: str, method: str
) -> None:
    plain = SQLiteResults(tmp_path / "results.db")
    store, record = CompressedResults(plain, "gzip"), a_record(value=value)
    with driving(driver, store.services) as run:
        assert run(getattr(store, method)([record])) == [True]
        assert run(store.load([record.id])) == run(plain.load([record.id])) == {record.id: record}
    connection = sqlite3.connect(tmp_path / "results.db")
    ((stored,),) = connection.execute("SELECT payload FROM results").fetchall()
    connection.close()
    assert stored == packed(record.payload, "gzip")


def test_setting_compresses_results_and_results_stay_readable_without_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/results.db"
    with_setting = TaskQ("shop", broker="memory://", results=url, result_compression="gzip")
    without = TaskQ("shop", broker="memory://", results=url)
    assert isinstance(with_setting.store, CompressedResults)
    with_setting.run(with_setting.store.save([a_record(value="x" * 5000, id="t-1")]))
    without.run(without.store.save([a_record(value="y" * 5000, id="t-2")]))
    for app in (with_setting, without):
        assert app.AsyncResult("t-1").get(timeout=1) == "x" * 5000
        assert app.AsyncResult("t-2").get(timeout=1) == "y" * 5000
        app.close()


def test_unknown_compression_is_an_error_that_lists_the_known_ones() -> None:
    app = TaskQ("shop", broker="memory://", results="sqlite:///results.db", result_compression="brotli")
    with pytest.raises(ImproperlyConfigured, match=r"unknown compression 'brotli'; known: .*gzip"):
        assert app.store


def test_result_that_fits_when_compressed_needs_no_bucket(tmp_path: Path) -> None:
    class NoPayloads:
        """A bucket that must not be used."""

        def __getattr__(self, name: str) -> Any:
            return lambda *_: iter(())

    narrow = SQLiteResults(tmp_path / "results.db")
    capabilities = replace(narrow.capabilities, largest_record_bytes=1000)
    compressed = CompressedResults(narrow, "gzip")
    object.__setattr__(compressed, "capabilities", capabilities)
    store: Any = LargeResults(compressed, NoPayloads(), lambda: 0.0, "gzip")  # type: ignore[arg-type]
    record = a_record(value="x" * 5000)
    small, payload = store._fitting(record)
    assert (small, payload) == (record, None)
