"""The DynamoDB result store: items, calls, failures and URLs. test_dynamodb_celery.py tests sharing with Celery."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.backoff import DEFAULT_BACKOFF
from taskq_cloud.core.flows import Call, Flow, Step, Trouble, run
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS, FINAL_VERSION
from taskq_cloud.errors import (
    AccessDenied,
    ImproperlyConfigured,
    OperationalError,
    PayloadTooLarge,
    TableNotFound,
    Unreachable,
)
from taskq_cloud.stores.results._dynamodb_items import from_record
from taskq_cloud.stores.results.dynamodb import DynamoDBResults
from taskq_cloud.stores.results.registry import store_from_url
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import THE_YEAR_2100, ResultStoreContract, a_record
from taskq_cloud.testing.driving import driving
from tests.stores.recorder import Recorder, failing


@pytest.mark.second_stack
class TestDynamoDB(ResultStoreContract):
    @pytest.fixture
    def store(
        self, make_table: Callable[..., str], aws_environment: dict[str, str], clock: FakeClock
    ) -> DynamoDBResults:
        return DynamoDBResults(make_table(), clock=clock)


@pytest.mark.slow
class TestDynamoDBWithCelerysKeys(ResultStoreContract):
    @pytest.fixture
    def store(
        self, make_table: Callable[..., str], aws_environment: dict[str, str], clock: FakeClock
    ) -> DynamoDBResults:
        return DynamoDBResults(make_table(), key_format="celery", clock=clock)


# The items of the table


def test_item_has_celerys_attributes_and_our_own(
    make_table: Callable[..., str], aws_environment: dict[str, str], dynamodb_client: Any
) -> None:
    table = make_table()
    store = DynamoDBResults(table, clock=lambda: 4_102_444_800.5)
    record = a_record(expires_at=4_102_444_900.25, fence=3)
    with driving("sync", store.services) as drive:
        drive(store.save([record]))

    item = dynamodb_client.get_item(TableName=table, Key={"id": {"S": f"celery-task-meta-{record.id}"}})["Item"]

    assert item == {
        "id": {"S": f"celery-task-meta-{record.id}"},
        "result": {"B": record.payload.encode()},
        "timestamp": {"N": "4102444800.5"},
        "ttl": {"N": "4102444901"},
        "state": {"S": "SUCCESS"},
        "version": {"N": str(FINAL_VERSION)},
        "fence": {"N": "3"},
    }


def test_item_of_claimed_key_outlives_its_lock(
    make_table: Callable[..., str], aws_environment: dict[str, str], dynamodb_client: Any
) -> None:
    table = make_table()
    store = DynamoDBResults(table, clock=lambda: 4_102_444_800.0)
    with driving("sync", store.services) as drive:
        drive(store.claim("key", "owner", 30))

    item = dynamodb_client.get_item(TableName=table, Key={"id": {"S": "taskq-claim-key"}})["Item"]
    assert int(item["ttl"]["N"]) == 4_102_444_830 + FENCE_KEPT_SECONDS


def test_join_too_large_for_an_item_is_refused_without_a_call() -> None:
    with pytest.raises(PayloadTooLarge, match="join j of 10000 members") as caught:
        run(DynamoDBResults("results").join("j", "m" * 36, 10_000, None), Recorder(lambda _: pytest.fail("called")))
    assert "smaller joins" in str(caught.value)


# Calls


def test_loading_one_id_takes_one_consistent_get() -> None:
    recorded = Recorder(lambda _: {})
    assert run(DynamoDBResults("results").load(["a", "a"]), recorded) == {}
    (call,) = recorded.calls
    assert call.operation == "get_item"
    assert call.parameters["ConsistentRead"] is True


def test_loading_many_ids_takes_one_consistent_batch_per_hundred() -> None:
    recorded = Recorder(lambda _: {"Responses": {}, "UnprocessedKeys": {}})
    ids = [f"task-{number}" for number in range(250)]

    assert run(DynamoDBResults("results").load([*ids, *ids]), recorded) == {}

    requests = [call.parameters["RequestItems"]["results"] for call in recorded.calls]
    assert [len(request["Keys"]) for request in requests] == [100, 100, 50]
    assert all(request["ConsistentRead"] is True for request in requests)
    assert recorded.pauses == 0


def test_unprocessed_keys_are_requested_again() -> None:
    records = {f"celery-task-meta-task-{n}": a_record(id=f"task-{n}", value=n) for n in range(130)}

    def half(call: Call) -> dict[str, Any]:
        request = call.parameters["RequestItems"]["results"]
        keys = request["Keys"]
        done, left = keys[: -(-len(keys) // 2)], keys[-(-len(keys) // 2) :]
        found = [from_record(records[key["id"]["S"]], key["id"]["S"], 0.0) for key in done]
        unprocessed = {"results": {"Keys": left, "ConsistentRead": True}} if left else {}
        return {"Responses": {"results": found}, "UnprocessedKeys": unprocessed}

    recorded = Recorder(half)
    loaded = run(DynamoDBResults("results").load([record.id for record in records.values()]), recorded)

    assert loaded == {record.id: record for record in records.values()}
    assert len(recorded.calls[2].parameters["RequestItems"]["results"]["Keys"]) == 65
    assert all(call.parameters["RequestItems"]["results"]["ConsistentRead"] for call in recorded.calls)


def test_unprocessed_deletions_are_requested_again() -> None:
    def one(call: Call) -> dict[str, Any]:
        return {
            "UnprocessedItems": {"results": left} if (left := call.parameters["RequestItems"]["results"][1:]) else {}
        }

    recorded = Recorder(one)
    run(DynamoDBResults("results").delete([f"task-{number}" for number in range(30)]), recorded)

    deleted = [
        call.parameters["RequestItems"]["results"][0]["DeleteRequest"]["Key"]["id"]["S"] for call in recorded.calls
    ]
    assert sorted(deleted) == sorted(f"celery-task-meta-task-{number}" for number in range(30))
    assert max(len(call.parameters["RequestItems"]["results"]) for call in recorded.calls) == 25


def test_table_that_processes_nothing_is_unreachable_after_pauses() -> None:
    recorded = Recorder(lambda call: {"Responses": {}, "UnprocessedKeys": call.parameters["RequestItems"]})
    with pytest.raises(Unreachable, match=r"DynamoDB table results .* is throttled: .* 2 items"):
        run(DynamoDBResults("results").load(["a", "b"]), recorded)
    assert len(recorded.calls) == DEFAULT_BACKOFF.attempts
    assert recorded.pauses == DEFAULT_BACKOFF.attempts - 1


def inserting(*answers: dict[str, Any]) -> Callable[[Call], Any]:
    """Answer statements in turn, and let each conditional write fail."""
    left = iter(answers)

    def answer(call: Call) -> Any:
        if call.operation == "batch_execute_statement":
            return {"Responses": [next(left) for _ in call.parameters["Statements"]]}
        return failing("ConditionalCheckFailedException")(call)

    return answer


DUPLICATE: Final = {"Error": {"Code": "DuplicateItem", "Message": "there is one"}}


def test_new_records_are_inserted_together_and_only_others_take_a_call_each() -> None:
    records = [a_record() for _ in range(30)]
    recorded = Recorder(inserting(*[DUPLICATE if number in (3, 28) else {} for number in range(30)]))
    saved = run(DynamoDBResults("results").save(records), recorded)
    assert [number for number, written in enumerate(saved) if not written] == [3, 28]
    statements = [call.parameters["Statements"] for call in recorded.calls[:2]]
    assert [len(each) for each in statements] == [25, 5]
    first = statements[0][0]
    assert first["Statement"].startswith("""INSERT INTO "results" VALUE {'id': ?, 'result': ?, """)
    assert first["Parameters"][:2] == [{"S": f"celery-task-meta-{records[0].id}"}, {"B": records[0].payload.encode()}]
    assert [call.parameters["Item"]["id"]["S"][-36:] for call in recorded.calls[2:]] == [records[3].id, records[28].id]


def test_records_of_one_task_are_inserted_once() -> None:
    record = a_record()
    recorded = Recorder(inserting({}))
    assert run(DynamoDBResults("results").save([record, record]), recorded) == [True, False]
    assert recorded.operations == ["batch_execute_statement", "put_item"]


def test_record_that_is_throttled_costs_no_other_record() -> None:
    records = [a_record() for _ in range(3)]
    throttled = {"Error": {"Code": "ThrottlingError", "Message": "slow down"}}

    def answer(call: Call) -> Any:
        if call.operation == "batch_execute_statement":
            return {"Responses": [{}, throttled, {}]}
        return failing("ThrottlingException", trouble=Trouble.THROTTLED)(call)

    first, second, third = run(DynamoDBResults("results").save_each(records), Recorder(answer))
    assert (first, third) == (True, True)
    assert isinstance(second, Unreachable)


def test_later_state_of_a_task_is_not_inserted() -> None:
    store, begun = DynamoDBResults("results"), a_record()
    recorded = Recorder(lambda call: {"Responses": [{} for _ in call.parameters.get("Statements", ())]})
    run(store.save([replace(begun, state="STARTED", version=0)]), recorded)
    run(store.save([begun, a_record(), a_record()]), recorded)
    assert recorded.operations == ["put_item", "batch_execute_statement", "put_item"]
    assert [len(call.parameters.get("Statements", ())) for call in recorded.calls] == [0, 2, 0]


@pytest.mark.parametrize("code", ["AccessDenied", "ThrottlingError", "ValidationError"])
def test_record_whose_statement_is_refused_is_written_by_a_call(code: str) -> None:
    answered = {"Error": {"Code": code, "Message": "no"}}
    records = [a_record(), a_record()]
    recorded = Recorder(lambda call: {"Responses": [answered, answered]} if "Statements" in call.parameters else {})
    assert run(DynamoDBResults("results").save(records), recorded) == [True, True]
    assert recorded.operations == ["batch_execute_statement", "put_item", "put_item"]


def test_missing_permission_for_statements_is_logged_once_and_costs_one_call(caplog: pytest.LogCaptureFixture) -> None:
    refused = failing("AccessDeniedException", "not authorized to perform: dynamodb:PartiQLInsert")
    recorded = Recorder(lambda call: refused(call) if call.operation == "batch_execute_statement" else {})
    store = DynamoDBResults("results")
    for _ in range(3):
        assert run(store.save([a_record(), a_record()]), recorded) == [True, True]
    assert recorded.operations.count("batch_execute_statement") == 1
    (line,) = caplog.records
    assert line.levelname == "WARNING"
    assert "allow the action dynamodb:PartiQLInsert" in line.getMessage()


def test_save_returns_false_for_failed_condition_and_raises_other_failures() -> None:
    records = [a_record(), a_record()]
    refusing = Recorder(inserting(DUPLICATE, DUPLICATE))
    assert run(DynamoDBResults("results").save(records), refusing) == [False, False]

    def fail_second(call: Call) -> Any:
        if call.operation == "batch_execute_statement":
            return {"Responses": [{}, DUPLICATE]}
        return failing("InternalServerError", trouble=Trouble.TRANSIENT)(call)

    with pytest.raises(Unreachable):
        run(DynamoDBResults("results").save(records), Recorder(fail_second))
    with pytest.raises(Unreachable):
        run(DynamoDBResults("results").save(records), Recorder(failing("X", trouble=Trouble.THROTTLED)))


def test_reservation_takes_one_call_unless_the_process_does_not_know_the_key(
    make_table: Callable[..., str], aws_environment: dict[str, str]
) -> None:
    table, clock = make_table(), FakeClock(THE_YEAR_2100)
    one, other = DynamoDBResults(table, clock=clock), DynamoDBResults(table, clock=clock)
    with contextlib.closing(Connections(one.services)) as connections:

        def calls_of(store: DynamoDBResults) -> int:
            steps: list[Step] = []

            def perform(step: Step) -> Any:
                steps.append(step)
                return connections.perform(step)

            run(store.reserve("key", 10, 0), perform)
            return len(steps)

        under_its_limit = []
        for _ in range(5):
            under_its_limit.append(calls_of(one))
            clock.advance(10)
        assert under_its_limit == [1] * 5
        assert [calls_of(one) for _ in range(5)] == [1] * 5
        # A process that has not seen the key tries the wrong half of the condition once.
        assert [calls_of(other) for _ in range(5)] == [2, 1, 1, 1, 1]
        clock.advance(3600)
        assert [calls_of(one) for _ in range(3)] == [1] * 3


def test_reservation_too_far_ahead_is_given_up_after_three_calls() -> None:
    recorded = Recorder(failing("ConditionalCheckFailedException"))
    assert run(DynamoDBResults("results").reserve("key", 1, 0), recorded) is None
    assert len(recorded.calls) == 3


# Failures


def every_method(store: DynamoDBResults) -> dict[str, Flow[Any]]:
    return {
        "GetItem": store.load(["a"]),
        "BatchGetItem": store.load(["a", "b"]),
        "PutItem": store.save([a_record()]),
        "BatchWriteItem": store.delete(["a"]),
        "UpdateItem": store.join("j", "m", 2, None),
    }


@pytest.mark.parametrize("action", ["GetItem", "BatchGetItem", "PutItem", "BatchWriteItem", "UpdateItem"])
def test_error_for_missing_table_names_region_and_creation_command(
    aws_environment: dict[str, str], action: str
) -> None:
    store = DynamoDBResults("no-such-table", "eu-central-1")
    with driving("sync", store.services) as drive, pytest.raises(TableNotFound) as caught:
        drive(every_method(store)[action])
    for part in ("no-such-table", "eu-central-1", "aws dynamodb create-table --table-name no-such-table", "'ttl'"):
        assert part in str(caught.value)


@pytest.mark.parametrize("action", ["GetItem", "BatchGetItem", "PutItem", "BatchWriteItem", "UpdateItem"])
def test_error_for_missing_permission_names_the_action(action: str) -> None:
    recorded = Recorder(failing("AccessDeniedException"))
    with pytest.raises(AccessDenied, match=f"results .*dynamodb:{action} was denied"):
        run(every_method(DynamoDBResults("results"))[action], recorded)


def test_expired_credentials_are_access_denied() -> None:
    recorded = Recorder(failing("ExpiredTokenException", trouble=Trouble.CREDENTIALS))
    with pytest.raises(AccessDenied, match="ExpiredTokenException"):
        run(DynamoDBResults("results").load(["a"]), recorded)


def test_endpoint_without_answer_is_unreachable(aws_environment: dict[str, str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        store = DynamoDBResults("results", endpoint_url=endpoint)
        with driving("sync", store.services) as drive, pytest.raises(Unreachable, match=endpoint):
            drive(store.load(["a"]))


def test_error_for_table_with_another_key_has_the_services_message(
    aws_environment: dict[str, str], dynamodb_client: Any
) -> None:
    dynamodb_client.create_table(
        TableName="keyed-otherwise",
        KeySchema=[{"AttributeName": "task", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "task", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    try:
        store = DynamoDBResults("keyed-otherwise")
        connections = Connections(store.services)
        with pytest.raises(OperationalError, match=r"keyed-otherwise .* dynamodb:GetItem was refused: Validation"):
            connections.run(store.load(["a"]))
        connections.close()
    finally:
        dynamodb_client.delete_table(TableName="keyed-otherwise")


# URLs


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("dynamodb://Shop_results.v1", ()),
        ("dynamodb://eu-west-1/Shop_results.v1", (("region", "eu-west-1"),)),
        (
            "dynamodb://Shop_results.v1?region=eu-west-1&endpoint_url=http://127.0.0.1:8000&key_format=celery",
            (("region", "eu-west-1"), ("endpoint_url", "http://127.0.0.1:8000")),
        ),
    ],
)
def test_url_names_table_region_and_endpoint(url: str, options: tuple[tuple[str, str], ...]) -> None:
    store = store_from_url(url, {})
    assert dict(store.services["dynamodb"].options) == dict(options)
    recorded = Recorder(lambda _: {})
    run(store.load(["a"]), recorded)
    assert recorded.calls == [
        Call(
            "dynamodb",
            "get_item",
            {
                "TableName": "Shop_results.v1",
                "Key": {"id": {"S": "b'celery-task-meta-a'" if "celery" in url else "celery-task-meta-a"}},
                "ConsistentRead": True,
            },
        )
    ]


@pytest.mark.parametrize(
    "url",
    [
        "dynamodb://",
        "dynamodb:///",
        "dynamodb://ab",
        "dynamodb://key:s3cret@eu-west-1/table",
        "dynamodb://table?ttl_seconds=5",
        "dynamodb://table?key_format=redis",
        "dynamodb://eu-west-1/shop/results",
    ],
)
def test_invalid_url_is_refused_without_showing_secrets(url: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        store_from_url(url, {})
    assert "s3cret" not in str(caught.value)
