"""The requests of S3 that the lean driver makes: an object is written, or read (Amazon S3 API Reference).

A bucket in another region, an access point and a directory bucket are the SDK's.
"""

from __future__ import annotations

import re
import zlib
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from hashlib import sha1, sha256
from typing import Any, Final
from urllib.parse import quote

from taskq_cloud.clients.lean import s3_answers
from taskq_cloud.clients.lean.answers import Answer
from taskq_cloud.clients.lean.endpoints import Endpoint
from taskq_cloud.clients.lean.requests import (
    FAILED,
    OtherWayError,
    Request,
    Setting,
    head_of,
    trace_line,
    unsigned_lines,
)
from taskq_cloud.clients.lean.signing import EMPTY_HASH, UNSIGNED, Keys, Signer
from taskq_cloud.clients.object_sizes import refuse_large
from taskq_cloud.core.flows import Call, CallError, Trouble

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SPECIAL: Final = re.compile(r".*(--.*|-s3alias)")
"""Names of directory buckets, and of access points."""

_ADDRESS: Final = re.compile(r"[0-9.]+|.*:.*")
"""An IP address, to which no bucket's name can be put in front."""

_PLAIN_KEY: Final = re.compile(r"(?!\.{1,2}(/|$))[^/]+(/(?!\.{1,2}(/|$))[^/]+)*/?")
"""A key without an empty part, ``.`` or ``..``, which HTTP clients and proxies may take for a path's."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+")
_VALUE: Final = re.compile(r"[!-~]([ -~]*[!-~])?")
"""A header's value in ASCII, without blanks around it."""

_HEADERS: Final = {
    "put_object": {"IfMatch": "If-Match", "IfNoneMatch": "If-None-Match", "ContentType": "Content-Type"},
    "get_object": {"IfMatch": "If-Match", "IfNoneMatch": "If-None-Match", "Range": "Range"},
}
_OTHERS: Final = {"put_object": {"Bucket", "Key", "Body", "Metadata"}, "get_object": {"Bucket", "Key"}}

_ELSEWHERE: Final = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "TemporaryRedirect",
    }
)
"""Codes of refusals which mean that the bucket is in another region."""

_REDIRECTS: Final = (301, 302, 307, 308)
"""Statuses of refusals that lead to another region."""

_CHECKS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "sha1": lambda body: sha1(body, usedforsecurity=False).digest(),
    "sha256": lambda body: sha256(body).digest(),
}
"""The checksums that the SDK verifies without a package for others."""


class S3Protocol:
    """Writes the requests of S3, and reads their answers. Threads may share it.

    Args:
        setting: what the requests share.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._signer = Signer("s3", setting.target.region, setting.clock)
        self._lines = unsigned_lines()
        self._elsewhere: set[str] = set()

    def request(self, call: Call, keys: Keys) -> Request | None:
        """Write a call's request; None: the operation is not for the lean driver, or a parameter doesn't fit it."""
        parameters = call.parameters
        place = self._place(parameters.get("Bucket"), parameters.get("Key"))
        headers = _headers(call)
        if place is None or headers is None:
            return None
        endpoint, path = place
        body = b""
        if call.operation == "get_object":
            method, body_hash = "GET", EMPTY_HASH
            headers.append(("x-amz-checksum-mode", "ENABLED"))
        else:
            method, body = "PUT", parameters.get("Body", b"")
            if type(body) is not bytes:
                return None
            checksum = b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
            headers += [("x-amz-checksum-crc32", checksum), ("x-amz-sdk-checksum-algorithm", "CRC32")]
            # TLS and the checksum protect the body.
            secure = endpoint.scheme == "https"
            body_hash = UNSIGNED if secure else sha256(body).hexdigest()
        headers += [("Host", endpoint.authority), ("X-Amz-Content-SHA256", body_hash)]
        signed = self._signer.sign(keys, method, path, headers, body_hash)
        return Request(
            endpoint,
            head_of(method, path, signed, body, self._lines + trace_line(self._setting)),
            body,
            self._setting.waits.read,
            partial(self._read, call),
            partial(refuse_large, call) if method == "GET" else None,
        )

    def _place(self, bucket: Any, key: Any) -> tuple[Endpoint, str] | None:
        """The endpoint and the path of an object; None: the SDK knows them."""
        if type(bucket) is not str or type(key) is not str or bucket in self._elsewhere:
            return None
        if not _BUCKET.fullmatch(bucket) or _SPECIAL.fullmatch(bucket) or not _PLAIN_KEY.fullmatch(key):
            return None
        target = self._setting.target
        path = "/" + quote(key, safe="/~")
        dotted, by_path = "." in bucket, target.path_style
        if by_path is None:
            by_path = target.given or dotted
        elif not by_path:
            if dotted:
                return None
            by_path = _is_address(target.endpoint)
        endpoint = target.endpoint
        if by_path:
            return endpoint, f"/{bucket}{path}"
        return endpoint._replace(host=f"{bucket}.{endpoint.host}"), path

    def _read(self, call: Call, answer: Answer) -> dict[str, Any]:
        failed = answer.status >= FAILED or (call.operation == "put_object" and s3_answers.is_error(answer.body))
        if not failed:
            read = s3_answers.read(call, answer)
            if call.operation == "get_object":
                read["ResponseMetadata"].update(_checked(call, answer))
                read["Body"] = answer.body
            return read
        error = s3_answers.error_of(call, answer)
        if error.code in _ELSEWHERE or answer.status in _REDIRECTS:
            self._elsewhere.add(call.parameters["Bucket"])
            raise OtherWayError(str(error)) from error
        raise error


def _is_address(endpoint: Endpoint) -> bool:
    return _ADDRESS.fullmatch(endpoint.host) is not None


def _headers(call: Call) -> list[tuple[str, str]] | None:
    """The headers of a call's parameters; None: there are others."""
    names, others = _HEADERS.get(call.operation), _OTHERS.get(call.operation, set())
    if names is None:
        return None
    found: list[tuple[str, str]] = []
    for name, value in call.parameters.items():
        if name in names:
            found.append((names[name], value))
        elif name == "Metadata" and name in others and isinstance(value, dict):
            if not all(type(each) is str and _TOKEN.fullmatch(each) for each in value):
                return None
            found += [(f"x-amz-meta-{each}", text) for each, text in value.items()]
        elif name not in others:
            return None
    return found if all(type(value) is str and _VALUE.fullmatch(value) for _, value in found) else None


def _checked(call: Call, answer: Answer) -> dict[str, str]:
    """Verify the checksum of an object, if the answer has one of the whole object.

    Raises:
        CallError: the object isn't what was written.
    """
    for name, digest in _CHECKS.items():
        expected = answer.headers.get(f"x-amz-checksum-{name}", "-")
        if "-" in expected:  # a checksum of the checksums of an upload's parts
            continue
        found = b64encode(digest(answer.body)).decode()
        if found != expected:
            text = f"Expected checksum {expected} did not match calculated checksum: {found}"
            raise CallError(call, "FlexibleChecksumError", text, Trouble.REFUSED)
        return {"ChecksumAlgorithm": name}
    return {}
