"""A Lambda function on AWS's own runtime client, and an event source mapping that feeds it from a queue."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from botocore.exceptions import ClientError

from emulators.aws.programs.runtime_api import EXIT, TIMEOUT, RuntimeApi
from tests.serverless.events import record_of

BATCH = 10
INITIALISATION_SECONDS = 60


class LocalFunction:
    """The shop's function. As Lambda does, it starts another process after one that has ended or taken too long.

    Args:
        environment: the function's environment variables.
        seconds: the function's timeout.

    Attributes:
        deaths: how often a process of the function ended, or was ended, in an invocation.
    """

    def __init__(self, environment: Mapping[str, str], seconds: float = 30) -> None:
        self.deaths = 0
        self._environment = {**os.environ, **environment, "AWS_LAMBDA_FUNCTION_NAME": "shop"}
        self._seconds = seconds
        self._api = RuntimeApi()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._api.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._api.__exit__()

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """Invoke the function, and return its answer; None if its process has not survived the invocation."""
        process = self._process = self._process or self._start()
        kind, content = self._api.call(json.dumps(event).encode(), seconds=self._seconds, ended=process.poll)
        if kind in (EXIT, TIMEOUT):
            self.deaths += 1
            self._end()
            return None
        assert kind == "response", content
        return json.loads(content)

    def wait_for_end(self, seconds: float) -> int:
        """Wait until the function's process has ended by itself, and return its exit code."""
        assert self._process is not None
        code = self._process.wait(seconds)
        self._process = None
        return code

    def _start(self) -> subprocess.Popen[bytes]:
        self._api.asked.clear()
        process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", "shop.handler"],
            cwd=Path(__file__).parent,
            env={**self._environment, "AWS_LAMBDA_RUNTIME_API": self._api.address},
        )
        assert self._api.asked.wait(INITIALISATION_SECONDS), "the function does not ask for an event"
        return process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Mapped:
    """An event source mapping from a queue to a local function.

    Args:
        function: the function.
        sqs: a client of SQS.
        queue: the name of the queue.
    """

    def __init__(self, function: LocalFunction, sqs: Any, queue: str) -> None:
        self._function = function
        self._sqs = sqs
        self._queue = queue
        self._url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]

    def poll(self) -> list[tuple[str, int]]:
        """Receive a batch and invoke the function with it; returns the received bodies and their receives."""
        messages = self._sqs.receive_message(
            QueueUrl=self._url,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
            MaxNumberOfMessages=BATCH,
            WaitTimeSeconds=1,
        ).get("Messages", [])
        if messages:
            answer = self._function.invoke({"Records": [record_of(each, self._queue) for each in messages]})
            if answer is None:
                self._let_visibility_timeout_pass(messages)
            else:
                failed = {each["itemIdentifier"] for each in answer["batchItemFailures"]}
                self._delete([each for each in messages if each["MessageId"] not in failed])
        return [(each["Body"], int(each["Attributes"]["ApproximateReceiveCount"])) for each in messages]

    def _let_visibility_timeout_pass(self, messages: list[Mapping[str, Any]]) -> None:
        for each in messages:
            with suppress(ClientError):  # the function has deleted it
                self._sqs.change_message_visibility(
                    QueueUrl=self._url, ReceiptHandle=each["ReceiptHandle"], VisibilityTimeout=0
                )

    def _delete(self, messages: list[Mapping[str, Any]]) -> None:
        for each in messages:
            with suppress(ClientError):  # SQS accepts a second delete, unlike ministack
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=each["ReceiptHandle"])
