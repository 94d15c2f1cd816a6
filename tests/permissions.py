"""Records the permissions and resources that calls on an AWS endpoint use, and compares them with a policy.

The names of permissions and the form of ARNs follow the Service Authorization Reference. A call of an unknown operation
is an error; otherwise a policy could seem complete although a call was ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from emulators.call_counter import CallCounter

_BATCH: Final = re.compile(r"^(ChangeMessageVisibility|DeleteMessage|SendMessage)Batch$")
"""SQS has no permission of its own for a batch."""

_SCHEDULE: Final = {"GET": "Get", "POST": "Create", "PUT": "Update", "DELETE": "Delete"}
_S3: Final = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}


@dataclass(frozen=True, slots=True, order=True)
class Used:
    """A permission that a call used.

    Args:
        action: ``sqs:SendMessage``.
        resource: the end of the ARN: ``sqs:shop-orders``, ``dynamodb:table/shop-results``, ``s3:shop-payloads/key``.
    """

    action: str
    resource: str


class CallRecorder(CallCounter):
    """A ``CallCounter`` that also keeps the permission and the resource of each call."""

    def __init__(self, endpoint_url: str) -> None:
        super().__init__(endpoint_url)
        self._requests: list[tuple[str, str, bytes]] = []
        self._not_found: list[str] = []

    def used(self) -> set[Used]:
        """The permissions that calls have used since the start or the last ``forget``.

        Raises:
            ValueError: the operation of a call is unknown.
        """
        with self._lock:
            requests, not_found = list(self._requests), list(self._not_found)
        used = {used for request in requests for used in _used(*request)}
        return used | {used for request_line in not_found for used in _of_absent_object(request_line)}

    def forget(self) -> None:
        """Forget all calls up to now."""
        self.reset()
        with self._lock:
            self._requests.clear()
            self._not_found.clear()

    def look_at(self, request_line: str, target: str, body: bytes) -> None:
        """Keep a request."""
        with self._lock:
            self._requests.append((request_line, target, body))

    def look_at_answer(self, request_line: str, status: int) -> None:
        """Keep a request that was answered with 404."""
        if status == HTTPStatus.NOT_FOUND:
            with self._lock:
                self._not_found.append(request_line)


def _of_absent_object(request_line: str) -> Iterable[Used]:
    """The permission for an answer of 404 and not 403 when an object does not exist (S3 API Reference, "GetObject")."""
    method, target_path, *_ = request_line.split(" ")
    bucket, _, key = unquote(urlsplit(target_path).path).strip("/").partition("/")
    if key and _S3.get(method) == "GetObject" and bucket not in ("schedules", "schedule-groups"):
        yield Used("s3:ListBucket", f"s3:{bucket}")


def _used(request_line: str, target: str, body: bytes) -> Iterable[Used]:
    service, _, operation = target.partition(".")
    if service == "AmazonSQS":
        parameters: Mapping[str, Any] = json.loads(body)
        queue = parameters.get("QueueName") or str(parameters["QueueUrl"]).rpartition("/")[2]
        yield Used("sqs:" + _BATCH.sub(r"\1", operation), f"sqs:{queue}")
    elif service.startswith("DynamoDB"):
        parameters = json.loads(body)
        if operation == "BatchExecuteStatement":
            for statement in parameters["Statements"]:
                verb, _, rest = str(statement["Statement"]).partition(" ")
                table = rest.split('"')[1]
                yield Used(f"dynamodb:PartiQL{verb.title()}", f"dynamodb:table/{table}")
            return
        for table in parameters.get("RequestItems") or [parameters["TableName"]]:
            yield Used(f"dynamodb:{operation}", f"dynamodb:table/{table}")
    else:
        method, target_path, *_ = request_line.split(" ")
        yield from _of_path(method, target_path, body)


def _of_path(method: str, target_path: str, body: bytes) -> Iterable[Used]:
    split = urlsplit(target_path)
    path, query = unquote(split.path).strip("/"), parse_qs(split.query, keep_blank_values=True)
    first, _, rest = path.partition("/")
    if first == "schedules" and rest:
        sent = json.loads(body or b"{}")
        group = query["groupName"][0] if "groupName" in query else sent.get("GroupName", "default")
        yield Used(f"scheduler:{_SCHEDULE[method]}Schedule", f"scheduler:schedule/{group}/{rest}")
        if "Target" in sent:
            yield Used("iam:PassRole", "iam:" + sent["Target"]["RoleArn"].split(":", 5)[5])
    elif first == "schedules":
        # This operation has no resource type: whatever group it names, AWS authorises it against all schedules.
        yield Used("scheduler:ListSchedules", "scheduler:schedule/*/*")
    elif first == "schedule-groups":
        yield Used(f"scheduler:{_SCHEDULE[method]}ScheduleGroup", f"scheduler:schedule-group/{rest}")
    elif re.match(r"\d{4}-\d\d-\d\d/", path):
        raise ValueError(f"{method} {path} is a call of an unknown service")
    elif rest:
        yield Used(f"s3:{_S3[method]}", f"s3:{path}")
    elif method == "GET" and "list-type" in query:
        yield Used("s3:ListBucket", f"s3:{first}")
    else:
        raise ValueError(f"{method} {target_path} is an unknown operation")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences between a policy and the used permissions.

    Args:
        missing: permissions that were used and are not allowed.
        unused: actions that are allowed and were never used on any of the statement's resources.
    """

    missing: Sequence[Used]
    unused: Sequence[str]


def compare(used: Iterable[Used], statements: Iterable[Mapping[str, Any]]) -> Comparison:
    """Compare the statements of an IAM policy with the permissions that were used.

    Args:
        used: the permissions from a recorder.
        statements: the statements; ``Action`` and ``Resource`` are lists.
    """
    seen, allowed = sorted(set(used)), list(statements)
    missing = [
        each for each in seen if not any(each.action in s["Action"] and _covers(s["Resource"], each) for s in allowed)
    ]
    unused = sorted(
        f"{action} of {', '.join(s['Resource'])}"
        for s in allowed
        for action in s["Action"]
        if not any(each.action == action and _covers(s["Resource"], each) for each in seen)
    )
    return Comparison(missing, unused)


def _covers(arns: Sequence[str], used: Used) -> bool:
    service, _, resource = used.resource.partition(":")
    for arn in arns:
        _, _, arn_service, _, _, name = arn.split(":", 5)
        if arn_service == service and fnmatchcase(resource, name):
            return True
    return False
