"""Result documents: Celery's keys in Celery's order, and exceptions that are made without running stored names."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from celery import Celery
from celery.backends.base import KeyValueStoreBackend
from celery.result import AsyncResult
from hypothesis import given
from hypothesis import strategies as st

from taskq_cloud import errors
from taskq_cloud.core import serializers
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.records import document as result_document
from taskq_cloud.core.records.record import FAILURE, RETRY, STARTED, SUCCESS

NOW = 1_795_415_075.5


class Kept(KeyValueStoreBackend):  # type: ignore[misc]
    """Celery's own reader and writer of results, with a dict as its store."""

    def __init__(self, app: Celery) -> None:
        super().__init__(app)
        self.kept: dict[bytes, Any] = {}

    def get(self, key: bytes) -> Any:
        return self.kept.get(key)

    def set(self, key: bytes, value: Any) -> None:
        self.kept[key] = value


@pytest.fixture
def celery_backend() -> Kept:
    return Kept(Celery("proj", set_as_current=False))


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize(("group", "parent"), [(None, None), ("g", None), (None, "p"), ("g", "p")])
@pytest.mark.parametrize("state", [SUCCESS, RETRY, FAILURE, STARTED])
def test_document_has_celerys_keys_in_celerys_order(
    celery_backend: Kept, extended: bool, group: str | None, parent: str | None, state: str
) -> None:
    celery_backend.app.conf.result_extended = extended
    request = SimpleNamespace(
        task="t", args=[1], kwargs={}, hostname="w", retries=0, group=group, parent_id=parent, children=[],
        delivery_info={"routing_key": "celery"},
    )  # fmt: skip
    celerys = celery_backend._get_result_meta(None, state, None, request)
    celerys["task_id"] = "id1"
    message = Message(task="t", id="id1", args=[1], group=group, parent_id=parent)
    run = result_document.RunDetails(worker="w", queue="celery", extended=extended)
    ours = json.loads(result_document.encode(message, state, "null", now=NOW, run=run))
    assert list(ours) == list(celerys)
    assert {**ours, "date_done": 0} == {**celerys, "date_done": 0}
    assert (ours["date_done"] is None) is (celerys["date_done"] is None)


@given(value=st.recursive(st.none() | st.integers() | st.text() | st.dates(), st.lists, max_leaves=5))
def test_value_is_read_as_it_was_written(value: Any) -> None:
    payload = result_document.encode(Message(task="t", id="1"), SUCCESS, serializers.dumps(value), now=NOW)
    assert result_document.decode(payload)["result"] == value


def test_success_is_readable_by_celery(celery_backend: Kept) -> None:
    payload = result_document.encode(Message(task="t", id="1"), SUCCESS, "[1,2]", now=NOW, children=["c1"])
    celery_backend.kept[celery_backend.get_key_for_task("1")] = payload
    meta = celery_backend.get_task_meta("1")
    assert (meta["status"], meta["result"], meta["task_id"]) == ("SUCCESS", [1, 2], "1")
    children = AsyncResult("1", backend=celery_backend, app=celery_backend.app).children
    assert [child.id for child in children] == ["c1"]


def test_failure_is_readable_by_celery(celery_backend: Kept) -> None:
    error = KeyError("lost", 1)
    error.add_note("which Celery doesn't read")
    described = ErrorInfo.of(error)
    payload = result_document.encode(Message(task="t", id="1"), FAILURE, described, now=NOW)
    celery_backend.kept[celery_backend.get_key_for_task("1")] = payload
    meta = celery_backend.get_task_meta("1")
    assert isinstance(meta["result"], KeyError)
    assert meta["result"].args == ("lost", 1)
    assert meta["traceback"] == described.traceback
    celerys = json.dumps(celery_backend.prepare_exception(error), separators=(",", ":"))
    assert f'"result":{celerys},' in payload


def test_failure_stored_by_celery_is_read(celery_backend: Kept) -> None:
    celery_backend.store_result("1", ValueError("boom", 1), FAILURE, traceback="tb")
    document = result_document.decode(celery_backend.kept[celery_backend.get_key_for_task("1")])
    again = result_document.exception_of(document["result"])
    assert (type(again), again.args) == (ValueError, ("boom", 1))


@pytest.mark.parametrize("argument", [UUID(int=5), datetime(2030, 1, 1, tzinfo=UTC), Decimal("1.50"), b"x"], ids=repr)
def test_key_that_is_no_text_reaches_callers_on_either_side(celery_backend: Kept, argument: Any) -> None:
    error, key = KeyError(argument), celery_backend.get_key_for_task("1")
    celery_backend.kept[key] = result_document.encode(Message(task="t", id="1"), FAILURE, ErrorInfo.of(error), now=NOW)
    read = celery_backend.get_task_meta("1")["result"]
    assert (type(read), read.args) == (KeyError, (argument,))
    celery_backend.store_result("2", error, FAILURE)
    document = result_document.decode(celery_backend.kept[celery_backend.get_key_for_task("2")])
    read = result_document.exception_in(document)
    assert (type(read), read.args, str(read)) == (KeyError, (argument,), str(error))


class Nest:
    class Inner(Exception):
        pass


def again(error: BaseException) -> BaseException:
    return result_document.exception_of(json.loads(result_document.encode_error(ErrorInfo.of(error))))


@pytest.mark.parametrize(
    "error",
    [ValueError("x", 1), KeyError("k"), OSError(2, "no such file"), Nest.Inner("x"), errors.TimeLimitExceeded(3.0)],
    ids=repr,
)
def test_exception_is_read_as_it_was_written(error: Exception) -> None:
    made = again(error)
    assert (type(made), made.args) == (type(error), error.args)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ({"exc_type": "Gone", "exc_message": ["x"], "exc_module": "no.such.module"}, "Gone: x"),
        ({"exc_type": "Gone", "exc_message": [], "exc_module": "no.such.module"}, "Gone"),
        ({"exc_type": "system", "exc_message": ["rm -rf /"], "exc_module": "os"}, "system: rm -rf /"),
        ({"exc_type": "Popen", "exc_message": ["ls"], "exc_module": "subprocess"}, "Popen: ls"),
        ({"exc_type": "SystemExit", "exc_message": [3], "exc_module": "builtins"}, "SystemExit: 3"),
        ({"exc_type": "CancelledError", "exc_message": [], "exc_module": "asyncio"}, "CancelledError"),
        ({"exc_type": 5, "exc_message": "text", "exc_module": None}, "5: text"),
        ("not a description", "Exception: not a description"),
        (None, "Exception: None"),
    ],
)
def test_unknown_exception_becomes_a_remote_error_with_its_name(stored: Any, shown: str) -> None:
    made = result_document.exception_of(stored)
    assert type(made) is errors.RemoteError
    assert str(made) == shown


def test_exception_of_a_module_not_imported_imports_nothing() -> None:
    assert "antigravity" not in sys.modules
    made = result_document.exception_of({"exc_type": "X", "exc_message": [], "exc_module": "antigravity"})
    assert isinstance(made, errors.RemoteError)
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("module", ["celery.exceptions", "billiard.exceptions", "celery.backends.base"])
@pytest.mark.parametrize(
    "name", ["TimeLimitExceeded", "WorkerLostError", "TaskRevokedError", "MaxRetriesExceededError"]
)
def test_celerys_errors_become_our_errors(module: str, name: str) -> None:
    made = result_document.exception_of({"exc_type": name, "exc_message": ["x"], "exc_module": module})
    assert type(made) is getattr(errors, name)


@pytest.mark.parametrize(
    "payload", ["", "[]", "{}", '"x"', '{"result": 1}', "{", '{"status": {"__type__": "x", "__value__": 1}}']
)
def test_payload_that_is_no_document_is_a_decode_error(payload: str) -> None:
    with pytest.raises(errors.DecodeError):
        result_document.decode(payload)


def test_arguments_beyond_json_are_shown_by_the_senders_repr() -> None:
    message = Message(task="t", id="1", args=[object()], argsrepr="(<object>,)", kwargsrepr="{}")
    run = result_document.RunDetails(extended=True)
    document = result_document.decode(result_document.encode(message, SUCCESS, "1", now=NOW, run=run))
    assert (document["args"], document["kwargs"], document["result"]) == ("(<object>,)", "{}", 1)
