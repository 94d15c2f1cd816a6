from __future__ import annotations

import os
from http.client import HTTPConnection

import pytest
from conftest import aws_client

from taskq_cloud.testing.local_stack import LocalStack


def test_it_keeps_its_port_and_what_it_stored_over_a_restart(own_stack: LocalStack):
    client = aws_client("sqs", own_stack.endpoint_url)
    url = client.create_queue(QueueName="kept")["QueueUrl"]
    client.send_message(QueueUrl=url, MessageBody="here before")
    endpoint_url, first_process = own_stack.endpoint_url, own_stack.process_id

    own_stack.restart()

    assert own_stack.endpoint_url == endpoint_url
    assert own_stack.process_id != first_process
    messages = client.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
    assert [message["Body"] for message in messages] == ["here before"]
    client.close()


def test_nothing_listens_while_it_is_stopped_and_nothing_is_left_after(own_stack: LocalStack):
    assert own_stack.log_path is not None
    process_id, directory = own_stack.process_id, own_stack.log_path.parent
    assert process_id is not None
    assert directory.exists()

    own_stack.close()

    connection = HTTPConnection("127.0.0.1", own_stack.port)
    with pytest.raises(ConnectionRefusedError):
        connection.connect()
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)
    assert not directory.exists()


def test_a_port_that_is_taken_is_an_error_that_names_it(own_stack: LocalStack):
    second = LocalStack(own_stack.port)
    with pytest.raises(RuntimeError, match=rf"port {own_stack.port} of 127\.0\.0\.1 is taken"):
        second.start()
    second.close()


def test_sdk_variables_name_the_endpoint(local_stack, aws_environment):
    assert os.environ["AWS_ENDPOINT_URL"] == local_stack.endpoint_url
    assert aws_environment["AWS_DEFAULT_REGION"] == "eu-west-1"


def test_queues_and_tables_are_made_under_names_of_their_own(make_queue, make_table, sqs_client, dynamodb_client):
    ordered = make_queue("work.fifo")
    assert ordered.endswith(".fifo")
    assert ordered != make_queue("work.fifo")
    assert sqs_client.get_queue_url(QueueName=ordered)["QueueUrl"].endswith(ordered)
    table = make_table()
    described = dynamodb_client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert described["AttributeName"] == "ttl"
