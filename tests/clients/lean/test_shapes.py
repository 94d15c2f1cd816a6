"""Tests that the lean driver's shapes are those of the SDK's models, and that other parameters are left to the SDK."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.session import Session

from taskq_cloud.clients.aws_sdk import with_shared_models
from taskq_cloud.clients.lean import dynamodb_operations, s3_answers, sqs_operations
from taskq_cloud.clients.lean.shapes import Blob, ListOf, MapOf, Scalar, Structure

MODELS = {"sqs": sqs_operations, "dynamodb": dynamodb_operations}
OPERATIONS = [(service, name) for service, module in MODELS.items() for name in module.OPERATIONS]
SCALARS = {str: "string", int: "integer", bool: "boolean"}
LEGACY = {"AttributesToGet", "AttributeUpdates", "Expected", "ConditionalOperator"}
ON_DEMAND = {"ReturnConsumedCapacity", "ReturnItemCollectionMetrics", "ConsumedCapacity", "ItemCollectionMetrics"}
"""What only a parameter of these brings into an answer; the lean driver never sends one."""


def model(service: str) -> Any:
    return with_shared_models(Session()).get_service_model(service)


def compare(ours: Any, theirs: Any, where: str, *, parameter: bool, above: tuple[str, ...] = ()) -> None:
    """Compare a shape with the model's; a parameter may lack members, and an answer must have all."""
    if theirs.name in above:
        return
    above = (*above, theirs.name)
    ours = getattr(ours, "members", ours) if isinstance(ours, type(dynamodb_operations.VALUE)) else ours
    if isinstance(ours, Structure):
        assert theirs.type_name == "structure", where
        left_out = set(theirs.members) - set(ours.members)
        assert set(ours.members) <= set(theirs.members), where
        assert left_out <= LEGACY | ON_DEMAND if parameter else left_out <= ON_DEMAND, (where, left_out)
        if parameter:
            assert ours.required == set(theirs.required_members), where
        for name, each in ours.members.items():
            their_member = theirs.members[name]
            assert their_member.serialization.get("name", name) == name, where
            compare(each, their_member, f"{where}.{name}", parameter=parameter, above=above)
    elif isinstance(ours, ListOf | MapOf):
        assert theirs.type_name == ("list" if isinstance(ours, ListOf) else "map"), where
        member = theirs.member if isinstance(ours, ListOf) else theirs.value
        assert not parameter or ours.least == theirs.metadata.get("min", 0), where
        compare(ours.member, member, f"{where}[]", parameter=parameter, above=above)
    elif isinstance(ours, Blob):
        assert theirs.type_name == "blob", where
    else:
        assert isinstance(ours, Scalar), where
        assert theirs.type_name == SCALARS[ours.kind], where
        assert not parameter or ours.least == theirs.metadata.get("min", 0), where


@pytest.mark.parametrize(("service", "method"), OPERATIONS)
def test_shapes_are_those_of_the_sdks_model(service: str, method: str) -> None:
    module = MODELS[service]
    name, parameters, answer = module.OPERATIONS[method]
    service_model = model(service)
    operation = service_model.operation_model(name)
    compare(parameters, operation.input_shape, method, parameter=True)
    if operation.output_shape is None:
        assert answer.members == {}
    else:
        compare(answer, operation.output_shape, method, parameter=False)
    assert service_model.metadata["targetPrefix"] == module.TARGET
    assert service_model.metadata["jsonVersion"] == "1.0"
    assert operation.http["requestUri"] == "/"


@pytest.mark.parametrize("name", ["GetObject", "PutObject"])
def test_headers_of_s3_are_those_of_the_sdks_model(name: str) -> None:
    shape = model("s3").operation_model(name).output_shape
    theirs = {
        member: (each.serialization["name"].lower(), each.type_name)
        for member, each in shape.members.items()
        if each.serialization.get("location") == "header" and member != "Expires"
    }
    kinds = {"string": str, "integer": int, "long": int, "boolean": s3_answers._flag, "timestamp": s3_answers._time}
    ours = s3_answers.HEADERS["get_object" if name == "GetObject" else "put_object"]
    assert ours == {member: (header, kinds[kind]) for member, (header, kind) in theirs.items()}


ENTRY = {"Id": "0", "MessageBody": "b"}


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("send_message", {"QueueUrl": "q"}),
        ("send_message", {"QueueUrl": "q", "MessageBody": None}),
        ("send_message", {"QueueUrl": "q", "MessageBody": b"bytes"}),
        ("send_message", {"QueueUrl": "q", "MessageBody": "b", "DelaySeconds": True}),
        ("send_message", {"QueueUrl": "q", "MessageBody": "b", "Unknown": 1}),
        ("send_message_batch", {"QueueUrl": "q", "Entries": [ENTRY, {"Id": "1"}]}),
        ("send_message_batch", {"QueueUrl": "q", "Entries": ENTRY}),
        ("send_message", {"QueueUrl": "q", "MessageBody": "b", "MessageAttributes": {"a": {"StringValue": "no type"}}}),
        ("send_message", {"QueueUrl": "q", "MessageBody": "b", "MessageAttributes": {1: {"DataType": "String"}}}),
        ("get_item", {"TableName": "", "Key": {"id": {"S": "1"}}}),
        ("get_item", {"TableName": "t", "Key": {"id": {"B": "text"}}}),
        ("get_item", {"TableName": "t", "Key": {"id": {"S": 1}}}),
        ("get_item", {"TableName": "t", "Key": {"id": {"X": "1"}}}),
        ("get_item", {"TableName": "t", "Key": {"id": {"S": "1"}}, "AttributesToGet": ["a"]}),
        ("put_item", {"TableName": "t", "Item": {"id": {"M": {"a": {"L": [{"S": None}]}}}}}),
        ("batch_get_item", {"RequestItems": {}}),
        ("batch_get_item", {"RequestItems": {"t": {"Keys": []}}}),
        ("batch_execute_statement", {"Statements": [{"Statement": "s", "Parameters": []}]}),
    ],
)
def test_parameter_without_its_shape_is_left_to_the_sdk(method: str, parameters: dict[str, Any]) -> None:
    operations = sqs_operations.OPERATIONS | dynamodb_operations.OPERATIONS
    assert not operations[method][1].fits(parameters)
