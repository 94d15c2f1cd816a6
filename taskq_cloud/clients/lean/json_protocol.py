"""AWS's JSON protocol, which SQS and DynamoDB speak (Smithy, "AWS JSON 1.0 protocol")."""

from __future__ import annotations

import json
import zlib
from functools import partial
from hashlib import sha256
from importlib import import_module
from typing import Any, Final, NamedTuple

from taskq_cloud.clients.lean.answers import Answer
from taskq_cloud.clients.lean.requests import (
    FAILED,
    Request,
    Setting,
    generic_error,
    head_of,
    metadata,
    nonsense,
    service_error,
    trace_line,
    unsigned_lines,
)
from taskq_cloud.clients.lean.shapes import Structure, encoded
from taskq_cloud.clients.lean.signing import Keys, Signer
from taskq_cloud.core.flows import Call, CallError, Trouble

_CONTENT_TYPE: Final = "application/x-amz-json-1.0"
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), default=encoded)
_SERVICES: Final = {"sqs": "sqs_operations", "dynamodb": "dynamodb_operations"}


class _Operation(NamedTuple):
    parameters: Structure
    answer: Structure
    headers: tuple[tuple[str, str], ...]


class JSONProtocol:
    """Writes the requests of SQS or DynamoDB, and reads their answers. Threads may share it.

    Args:
        setting: what the requests share.
    """

    def __init__(self, setting: Setting) -> None:
        service = setting.target.service
        module: Any = import_module(f"taskq_cloud.clients.lean.{_SERVICES[service]}")
        host = setting.target.endpoint.authority
        self._setting = setting
        self._signer = Signer(service, setting.target.region, setting.clock)
        self._lines = unsigned_lines()
        self._operations = {
            method: _Operation(
                parameters,
                answer,
                (
                    ("Host", host),
                    ("X-Amz-Target", f"{module.TARGET}.{name}"),
                    ("Content-Type", _CONTENT_TYPE),
                    # SQS names errors as it did before it had this protocol.
                    *([("x-amzn-query-mode", "true")] if service == "sqs" else []),
                ),
            )
            for method, (name, parameters, answer) in module.OPERATIONS.items()
        }

    def request(self, call: Call, keys: Keys) -> Request | None:
        """Write a call's request; None: the operation is not for the lean driver, or a parameter doesn't fit it."""
        operation, parameters = self._operations.get(call.operation), call.parameters
        if operation is None or not operation.parameters.fits(parameters):
            return None
        setting = self._setting
        body = _ENCODER.encode(parameters).encode()
        headers = self._signer.sign(keys, "POST", "/", operation.headers, sha256(body).hexdigest())
        rest = self._lines if setting.trace is None else self._lines + trace_line(setting)
        polls = bool(parameters.get("WaitTimeSeconds"))
        return Request(
            setting.target.endpoint,
            head_of("POST", "/", headers, body, rest),
            body,
            setting.waits.poll if polls else setting.waits.read,
            partial(_read, call, operation),
        )


def _read(call: Call, operation: _Operation, answer: Answer) -> dict[str, Any]:
    checksum = answer.headers.get("x-amz-crc32")
    if checksum is not None and checksum != str(zlib.crc32(answer.body)):
        message = f"the answer's checksum isn't {checksum}"
        raise CallError(call, "ChecksumError", message, Trouble.TRANSIENT)
    if answer.status >= FAILED:
        raise _error(call, answer)
    try:
        read: dict[str, Any] | None = operation.answer.read(json.loads(answer.body.decode())) if answer.body else {}
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise nonsense(call, error) from error
    if read is None:
        raise nonsense(call, TypeError("there is null instead of an object"))
    read["ResponseMetadata"] = metadata(answer, RequestId=answer.headers.get("x-amzn-requestid"))
    return read


def _error(call: Call, answer: Answer) -> CallError:
    generic = generic_error(call, answer)
    if generic is not None:
        return generic
    try:
        text = answer.body.decode()
    except UnicodeDecodeError as error:
        return nonsense(call, error)
    try:
        body = json.loads(text) if text else {}
    except (ValueError, RecursionError):  # whoever refuses may nest anything, to any depth
        body = None
    if not isinstance(body, dict):
        body = {"message": text}
    # "com.amazonaws.sqs#QueueDoesNotExist", "QueueDoesNotExist", "QueueDoesNotExist:http://..."
    code = str(body.get("__type", answer.status)).partition(":")[0].rpartition("#")[2]
    old, semicolon, kind = answer.headers.get("x-amzn-query-error", "").partition(";")
    if old and semicolon and ";" not in kind:
        code = old
    return service_error(call, code, str(body.get("message", body.get("Message", ""))), answer.status)
