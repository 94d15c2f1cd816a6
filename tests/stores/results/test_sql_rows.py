"""The pure parts of the stores in SQL databases: documents in rows of Celery's, drivers, parameters, and errors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.core.records.compressed import packed
from taskq_cloud.core.records.record import Record
from taskq_cloud.core.servers import sql_drivers as urls
from taskq_cloud.core.servers.sql_tables import pyformat
from taskq_cloud.errors import AccessDenied, OperationalError, PayloadTooLarge, StoreNotFound, Unreachable
from taskq_cloud.stores.results import _sql_celery_rows as rows
from taskq_cloud.stores.results._sql_errors import sql_calls
from taskq_cloud.testing.contracts.result_store import a_record, document


@pytest.mark.parametrize(
    "payload",
    [
        document({"a": ['"result":', {"traceback": 1}, "größe 🎉 \\ \n"]}),
        '{"status":"SUCCESS","result":null,"traceback":null}',
        '{"status":"SUCCESS","result":[1,2],"task_id":"A"}',
        '{"result":1,"status":"SUCCESS"}',
        '"no document"',
        '{"status":"SUCCESS","result":broken',
    ],
)
def test_record_is_read_from_its_row_as_it_was_written(payload: str) -> None:
    record = Record("A", "SUCCESS", 3, payload, 12.5, 4)
    frame, text = rows.parted(payload)
    result = None if text is None else text.encode()
    row = {"status": "SUCCESS", **rows.our_columns(record, frame, result)}
    assert rows.our_record("A", row, result) == record


def test_compressed_record_has_a_compressed_result() -> None:
    plain = a_record(value="x" * 1000)
    record = replace(plain, packed=packed(plain.payload, "gzip"))
    frame, text = rows.parted(record.payload)
    assert text is not None
    result = rows.packed_like(record, text)
    assert len(result) < 100
    row = {"status": record.state, **rows.our_columns(record, frame, result)}
    assert rows.our_record(record.id, row, result) == plain


@pytest.mark.parametrize("change", [{"status": "FAILURE"}, {"taskq_check": 0}, {"taskq_state": None}])
def test_row_that_celery_has_written_since_is_not_ours(change: dict[str, object]) -> None:
    record = a_record()
    frame, text = rows.parted(record.payload)
    assert text is not None
    row = {"status": record.state, **rows.our_columns(record, frame, text.encode()), **change}
    assert rows.our_record(record.id, row, text.encode()) is None


@pytest.mark.parametrize(
    ("scheme", "loop", "driver"),
    [
        ("postgresql", False, "postgresql+psycopg"),
        ("postgresql", True, "postgresql+psycopg_async"),
        ("postgresql+asyncpg", True, "postgresql+asyncpg"),
        ("postgresql+asyncpg", False, "postgresql+psycopg"),
        ("postgresql+psycopg2", True, "postgresql+psycopg_async"),
        ("postgresql+psycopg2", False, "postgresql+psycopg2"),
        ("mysql+pymysql", True, "mysql+asyncmy"),
        ("mysql+asyncmy", False, "mysql+pymysql"),
        ("mariadb", False, "mariadb+pymysql"),
        ("mysql+special", False, "mysql+special"),
        ("sqlite", True, "sqlite+aiosqlite"),
        ("sqlite", False, "sqlite+pysqlite"),
    ],
)
def test_driver_serves_threads_or_event_loops(
    scheme: str, loop: bool, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urls, "find_spec", lambda name: name)
    assert urls.driver_for(scheme, loop=loop) == driver


def test_database_without_an_installed_driver_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "find_spec", lambda _name: None)
    assert urls.driver_for("mysql", loop=False) is None


def test_parameters_are_rewritten_and_casts_are_not() -> None:
    assert pyformat("SELECT :id, x::text, :id2 FROM a.b WHERE c = ':'") == (
        "SELECT %(id)s, x::text, %(id2)s FROM a.b WHERE c = ':'"
    )


@pytest.mark.parametrize(
    ("code", "trouble", "kind"),
    [
        ("28P01", Trouble.REFUSED, AccessDenied),
        ("1290", Trouble.TRANSIENT, AccessDenied),
        ("42P01", Trouble.REFUSED, StoreNotFound),
        ("1406", Trouble.REFUSED, PayloadTooLarge),
        ("1213", Trouble.TRANSIENT, Unreachable),
        ("42601", Trouble.REFUSED, OperationalError),
    ],
)
def test_error_that_may_pass_is_told_from_one_that_will_not(code: str, trouble: Trouble, kind: type[Exception]) -> None:
    call = Call("sqlalchemy", "query")
    flow = sql_calls(call, lambda: None)
    assert next(flow) is call
    with pytest.raises(OperationalError, match="said") as raised:
        flow.throw(CallError(call, code, "said", trouble))
    assert type(raised.value) is kind
