"""Results over a store's limit: the stored document, and its readers, Celery's among them."""

from __future__ import annotations

import base64
import json
import random
import tracemalloc
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from celery import Celery

from taskq_cloud.core.flows import Compute, Flow, run
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.payloads.large_results import LargeResults
from taskq_cloud.core.payloads.policy import LARGEST_PAYLOAD_BYTES, Payloads
from taskq_cloud.core.records import document as result_document
from taskq_cloud.core.records.record import FAILURE, FINAL_VERSION, SUCCESS, Record
from taskq_cloud.errors import ClaimError, DecodeError, PayloadTooLarge, Unreachable
from taskq_cloud.results.state import TaskState
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.testing.bench import Bench
from tests.core.payloads.shelf import Shelf, drive

NOW = 1_767_225_600.0
LIMIT = 3000


class SmallResults(MemoryResults):
    capabilities = replace(MemoryResults.capabilities, largest_record_bytes=LIMIT, saves_together=True)

    def save_each(self, records: Sequence[Record]) -> Flow[list[bool | Exception]]:
        return [*(yield from self.save(records))]


def a_store(shelf: Shelf, **options: Any) -> LargeResults:
    return LargeResults(SmallResults(lambda: NOW), Payloads(store=shelf, **options), lambda: NOW)


def noise(size: int) -> str:
    return base64.b64encode(random.Random(size).randbytes(size * 3 // 4)).decode()


def a_record(value: Any, state: str = SUCCESS, task_id: str = "id-1") -> Record:
    message = Message(task="t", id=task_id)
    payload = result_document.encode(message, state, json.dumps(value), now=NOW, traceback="tb", children=["c"])
    return Record(task_id, state, FINAL_VERSION, payload)


def inner(store: LargeResults) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(drive(store.store.load(["id-1"]))["id-1"].payload)
    return document


def test_record_that_fits_is_passed_through() -> None:
    shelf = Shelf()
    store, record = a_store(shelf), a_record("small")
    assert drive(store.save([record])) == [True]
    assert drive(store.store.load(["id-1"])) == drive(store.load(["id-1"])) == {"id-1": record}
    assert (shelf.puts, shelf.gets) == ([], [])


def test_records_can_be_read_without_their_payloads() -> None:
    shelf = Shelf()
    store, large, small = a_store(shelf), a_record(noise(20_000)), a_record(1, task_id="id-2")
    drive(store.save([large, small]))
    found = drive(store.load_small(["id-1", "id-2"]))
    assert (shelf.gets, found["id-1"].state) == ([], SUCCESS)
    assert [drive(store.complete(each)) for each in found.values()] == [large, small]
    assert len(shelf.gets) == 1


def test_record_that_is_too_large_is_stored_as_a_payload() -> None:
    shelf = Shelf()
    store, record, small = a_store(shelf), a_record(noise(20_000)), a_record(1, task_id="id-2")
    assert drive(store.save([record, small])) == [True, True]
    assert drive(store.load(["id-1", "id-2"])) == {"id-1": record, "id-2": small}
    assert len(shelf.puts) == 1 and shelf.puts[0].startswith("app/results/2026-01-01/id-1-")
    document = inner(store)
    celerys = {"status", "result", "traceback", "children", "date_done", "task_id"}
    assert document.keys() == celerys | {"taskq_claim"}
    assert document["result"] == f"{len(record.payload)} bytes in s3://shelf/{shelf.puts[0]}"


def test_record_that_fits_when_compressed_needs_no_object() -> None:
    shelf = Shelf()
    store, record = a_store(shelf), a_record("a" * 20_000)
    assert drive(store.save([record])) == [True]
    assert drive(store.load(["id-1"])) == {"id-1": record}
    assert shelf.puts == []
    store = a_store(shelf, compression=None)
    assert drive(store.save([record])) == [True]
    assert drive(store.load(["id-1"])) == {"id-1": record}
    assert len(shelf.puts) == 1


def test_large_failure_is_read_as_a_failure_by_celery_too() -> None:
    error = json.loads(result_document.encode_error(ErrorInfo.of(ValueError(noise(20_000)))))
    shelf = Shelf()
    store, record = a_store(shelf), a_record(error, FAILURE)
    drive(store.save([record]))
    state = TaskState.of(drive(store.load(["id-1"]))["id-1"].payload)
    assert isinstance(state.result, ValueError) and state.traceback == "tb"
    backend = Celery(set_as_current=False, backend="cache+memory://").backend
    seen = backend.exception_to_python(inner(store)["result"])
    assert isinstance(seen, ClaimError) and shelf.puts[0] in str(seen)


def test_task_value_that_resembles_a_reference_is_read_as_a_value() -> None:
    shelf = Shelf()
    store = a_store(shelf)
    value = {"taskq_claim": {"place": "s3://shelf", "key": "app/x"}, "taskq_compressed": {"data": ""}}
    drive(store.save([a_record(value)]))
    assert json.loads(drive(store.load(["id-1"]))["id-1"].payload)["result"] == value
    assert shelf.gets == []


def test_missing_object_is_named_with_its_task() -> None:
    shelf = Shelf()
    store = a_store(shelf)
    drive(store.save([a_record(noise(20_000))]))
    shelf.kept.clear()
    gone = rf"result of task id-1 .*{shelf.puts[0]} is missing"
    with pytest.raises(ClaimError, match=gone) as caught:
        drive(store.load(["id-1"]))
    assert caught.value.task_id == "id-1"


def test_reference_to_another_place_is_neither_followed_nor_removed() -> None:
    shelf = Shelf()
    store = a_store(shelf)
    drive(store.save([a_record(noise(20_000))]))
    document = inner(store)
    shelf.kept["shelf", "secret"] = b"x"
    document["taskq_claim"]["key"] = "secret"
    other = Record("id-2", SUCCESS, FINAL_VERSION, json.dumps({**document, "task_id": "id-2"}))
    drive(store.store.save([other]))
    with pytest.raises(ClaimError, match="may come from s3://shelf/app/ only"):
        drive(store.load(["id-2"]))
    drive(store.delete(["id-2"]))
    assert ("shelf", "secret") in shelf.kept and shelf.gets == []


def test_reference_with_a_path_to_another_place_removes_nothing() -> None:
    shelf = Shelf()
    store = a_store(shelf)
    drive(store.save([a_record(noise(20_000))]))
    document = inner(store)
    key = document["taskq_claim"]["key"] = "app/results/../arguments/other"
    shelf.kept["shelf", key] = b"x"  # a client that shortens paths would find another object
    drive(store.store.save([Record("id-2", SUCCESS, FINAL_VERSION, json.dumps({**document, "task_id": "id-2"}))]))
    drive(store.delete(["id-2"]))
    assert ("shelf", key) in shelf.kept


def test_deleted_record_and_its_object_are_gone() -> None:
    shelf = Shelf()
    store = a_store(shelf)
    drive(store.save([a_record(noise(20_000)), a_record(1, task_id="id-2")]))
    drive(store.delete(["id-1", "id-2", "id-3"]))
    assert shelf.kept == {} and drive(store.load(["id-1", "id-2"])) == {}


def test_record_whose_payload_could_not_be_stored_is_not_written() -> None:
    shelf = Shelf()
    shelf.failure = Unreachable("no answer")
    store = a_store(shelf)
    with pytest.raises(Unreachable):
        drive(store.save([a_record(noise(20_000)), a_record(1, task_id="id-2")]))
    assert drive(store.load(["id-1", "id-2"])) == {}


def test_payload_that_could_not_be_stored_costs_no_other_record() -> None:
    shelf = Shelf()
    shelf.failure = Unreachable("no answer")
    store = a_store(shelf)
    failed, saved = drive(store.save_each([a_record(noise(20_000)), a_record(1, task_id="id-2")]))
    assert isinstance(failed, Unreachable)
    assert saved is True
    assert [*drive(store.load(["id-1", "id-2"]))] == ["id-2"]


@pytest.mark.parametrize("damage", [{"data": "?"}, {"data": "AAAA"}, {"compression": "application/x-rar"}, {"data": 7}])
def test_damaged_record_is_a_decode_error(damage: dict[str, Any]) -> None:
    store = a_store(Shelf())
    drive(store.save([a_record("a" * 20_000)]))
    document = inner(store)
    document["taskq_compressed"] |= damage
    other = Record("id-2", SUCCESS, FINAL_VERSION, json.dumps(document))
    drive(store.store.save([other]))
    with pytest.raises(DecodeError):
        drive(store.load(["id-2"]))


def test_other_methods_are_passed_to_the_store() -> None:
    store = a_store(Shelf())
    assert drive(store.join("j", "a", 1, None)) is True
    assert drive(store.claim("k", "me", 10)) == 1
    assert store.services == {}
    assert store.capabilities.largest_record_bytes == LARGEST_PAYLOAD_BYTES and store.capabilities.joins
    with pytest.raises(PayloadTooLarge, match="task id-1"):
        drive(store.save([a_record("a" * LARGEST_PAYLOAD_BYTES)]))


# -- stored results of someone else's


def compressed(text: bytes) -> Record:
    """A record whose small document holds a large one, compressed, as anyone who can write to the store can make."""
    note = {"compression": "application/x-gzip", "data": base64.b64encode(zlib.compress(text, 9)).decode()}
    return Record("id-1", SUCCESS, FINAL_VERSION, json.dumps({"status": SUCCESS, "taskq_compressed": note}))


def success(result: bytes) -> bytes:
    return b'{"status": "SUCCESS", "result": ' + result + b"}"


@pytest.mark.slow
@pytest.mark.parametrize("part", [b"[],", b'{"":0},', b"{},"])
def test_stored_result_that_would_take_much_memory_is_refused_by_every_reader(part: bytes) -> None:
    store = a_store(Shelf())
    drive(store.store.save([compressed(success(b"[" + part * (60_000_000 // len(part)) + b"0]"))]))
    tracemalloc.start()
    try:
        found = drive(store.load(["id-1"]))["id-1"]
        with pytest.raises(DecodeError, match="holds so many lists, objects and values"):
            result_document.decode(found.payload)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 300_000_000, f"{peak:,} bytes"


@pytest.mark.slow
def test_stored_result_that_expands_to_more_than_the_limit_is_refused() -> None:
    store = a_store(Shelf())
    drive(store.store.save([compressed(success(b'"' + bytes([65]) * (LARGEST_PAYLOAD_BYTES + 1) + b'"'))]))
    with pytest.raises(DecodeError, match="expands to more than 67108864 bytes"):
        drive(store.load(["id-1"]))


@pytest.mark.parametrize("value", ["x" * 3_000_000, list(range(300_000)), [{"a": 1}] * 150_000])
def test_large_result_with_ordinary_values_is_read(value: Any) -> None:
    store = a_store(Shelf())
    drive(store.save([a_record(value)]))
    assert result_document.decode(drive(store.load(["id-1"]))["id-1"].payload)["result"] == value


def test_object_that_is_no_text_is_refused() -> None:
    shelf = Shelf()
    store = a_store(shelf, compression=None)
    reference, payload = store.payloads.check_in("results", "id-1", b"\xff" * 20, NOW)
    drive(shelf.put([payload]))
    document = json.dumps({"status": SUCCESS, "taskq_claim": reference.as_json()})
    drive(store.store.save([Record("id-1", SUCCESS, FINAL_VERSION, document)]))
    with pytest.raises(DecodeError, match="isn't text"):
        drive(store.load(["id-1"]))


def computed(flow: Any) -> list[bool]:
    """Run a flow; returns for each decoding of a large text whether it was left to the flow's driver."""
    steps: list[bool] = []

    def perform(step: Any) -> Any:
        steps.append(isinstance(step, Compute))
        return step.function()

    run(flow, perform)
    return steps


def test_compressed_and_large_results_are_expanded_off_the_event_loop() -> None:
    store = a_store(Shelf())
    drive(store.store.save([compressed(success(b"[1]"))]))
    assert computed(store.load(["id-1"])) == [True]
    drive(store.delete(["id-1"]))
    drive(store.save([a_record(noise(20_000))]))
    assert computed(store.load(["id-1"])) == [True]
    drive(store.delete(["id-1"]))
    drive(store.save([a_record("small")]))
    assert computed(store.load(["id-1"])) == []


@pytest.mark.parametrize("offload", [True, False])
def test_large_record_is_decoded_off_the_event_loop_where_the_runtime_asks_for_that(offload: bool) -> None:
    bench = Bench.in_memory({"t": TaskDefinition("t", lambda: 1, TaskOptions())})
    bench.run(bench.store.save([a_record("x" * 100_000, task_id="m")]))
    bench.send(Message(task="t", id="m", headers={"taskq_resent": True}))
    (delivery,) = bench.receive()
    assert computed(bench.pipeline.process(delivery, offload=offload)) == ([True] if offload else [])
