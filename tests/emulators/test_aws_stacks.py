from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from emulators.aws import Ministack
from taskq_cloud.testing.waiting import until
from tests.conftest import StackAddress


@pytest.mark.needs("keeps_state")
def test_restarted_stack_keeps_its_port_and_data(
    own_stack: Ministack, make_aws_client: Callable[[str, str], Any]
) -> None:
    client = make_aws_client("sqs", own_stack.endpoint_url)
    url = client.create_queue(QueueName="kept")["QueueUrl"]
    client.send_message(QueueUrl=url, MessageBody="here before")
    endpoint_url, first_process = own_stack.endpoint_url, own_stack.process_id

    own_stack.restart()

    assert own_stack.endpoint_url == endpoint_url
    assert own_stack.process_id != first_process
    messages = client.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
    assert [message["Body"] for message in messages] == ["here before"]


def test_stopped_stack_closes_its_port_and_leaves_nothing_behind(own_stack: Ministack) -> None:
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


def test_stack_ends_when_the_process_that_started_it_is_killed() -> None:
    code = (
        "from emulators.aws import Ministack\n"
        "import sys\n"
        "stack = Ministack()\n"
        "stack.start()\n"
        "print(stack.process_id, stack.port, stack.log_path.parent, flush=True)\n"
        "sys.stdin.read()\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None and starter.stdin is not None
    process_id, port, directory = starter.stdout.readline().split()
    starter.kill()
    starter.wait()
    starter.stdout.close()
    starter.stdin.close()

    # The stack closes its port before it has removed its own files.
    until(lambda: not _runs(int(process_id)), "the stack to end after its starter was killed")
    assert not _listens(int(port))
    shutil.rmtree(directory)


def _runs(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_taken_port_is_an_error_that_names_it(own_stack: Ministack) -> None:
    second = Ministack(own_stack.port)
    with pytest.raises(RuntimeError, match=rf"port {own_stack.port} of 127\.0\.0\.1 is taken"):
        second.start()
    second.close()


def test_sdk_variables_name_the_endpoint(local_stack: StackAddress, aws_environment: dict[str, str]) -> None:
    assert os.environ["AWS_ENDPOINT_URL"] == local_stack.endpoint_url
    assert aws_environment["AWS_DEFAULT_REGION"] == "eu-west-1"


def test_queues_and_tables_of_tests_have_unique_names(
    make_queue: Callable[..., str], make_table: Callable[..., str], sqs_client: Any, dynamodb_client: Any
) -> None:
    ordered = make_queue("work.fifo")
    assert ordered.endswith(".fifo")
    assert ordered != make_queue("work.fifo")
    assert sqs_client.get_queue_url(QueueName=ordered)["QueueUrl"].endswith(ordered)
    table = make_table()
    described = dynamodb_client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert described["AttributeName"] == "ttl"
