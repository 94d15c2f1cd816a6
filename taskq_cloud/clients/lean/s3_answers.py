"""Reads S3's answers: members of a dict from headers, and errors from XML."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from taskq_cloud.clients.lean.answers import Answer
from taskq_cloud.clients.lean.requests import (
    FAILED,
    SERVICES_FAULT,
    generic_error,
    metadata,
    nonsense,
    service_error,
    status_error,
)
from taskq_cloud.core.flows import Call, CallError

_MALFORMED: Final = (ValueError, LookupError, OverflowError)
"""What is raised over the malformed value of a header, such as a year with too many digits."""

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _flag(text: str) -> bool:
    return text.lower() == "true"


def _time(text: str) -> datetime:
    """The time in a header, such as ``Mon, 30 Nov 2026 01:20:36 GMT``."""
    parts = text.replace(",", " ").split()
    if parts[-1] != "GMT":
        return datetime.fromisoformat(text)
    _, day, month, year, clock, _ = parts
    hours, minutes, seconds = map(int, clock.split(":"))
    return datetime(int(year), _MONTHS.index(month) + 1, int(day), hours, minutes, seconds, tzinfo=UTC)


Kind = Callable[[str], Any]

_BOTH: Final[dict[str, tuple[str, Kind]]] = {
    "Expiration": ("x-amz-expiration", str),
    "ETag": ("etag", str),
    "ChecksumCRC32": ("x-amz-checksum-crc32", str),
    "ChecksumCRC32C": ("x-amz-checksum-crc32c", str),
    "ChecksumCRC64NVME": ("x-amz-checksum-crc64nvme", str),
    "ChecksumSHA1": ("x-amz-checksum-sha1", str),
    "ChecksumSHA256": ("x-amz-checksum-sha256", str),
    "ChecksumSHA512": ("x-amz-checksum-sha512", str),
    "ChecksumMD5": ("x-amz-checksum-md5", str),
    "ChecksumXXHASH64": ("x-amz-checksum-xxhash64", str),
    "ChecksumXXHASH3": ("x-amz-checksum-xxhash3", str),
    "ChecksumXXHASH128": ("x-amz-checksum-xxhash128", str),
    "ChecksumType": ("x-amz-checksum-type", str),
    "ServerSideEncryption": ("x-amz-server-side-encryption", str),
    "VersionId": ("x-amz-version-id", str),
    "SSECustomerAlgorithm": ("x-amz-server-side-encryption-customer-algorithm", str),
    "SSECustomerKeyMD5": ("x-amz-server-side-encryption-customer-key-md5", str),
    "SSEKMSKeyId": ("x-amz-server-side-encryption-aws-kms-key-id", str),
    "BucketKeyEnabled": ("x-amz-server-side-encryption-bucket-key-enabled", _flag),
    "RequestCharged": ("x-amz-request-charged", str),
}

HEADERS: Final[dict[str, dict[str, tuple[str, Kind]]]] = {
    "put_object": {
        **_BOTH,
        "SSEKMSEncryptionContext": ("x-amz-server-side-encryption-context", str),
        "Size": ("x-amz-object-size", int),
    },
    "get_object": {
        **_BOTH,
        "DeleteMarker": ("x-amz-delete-marker", _flag),
        "AcceptRanges": ("accept-ranges", str),
        "Restore": ("x-amz-restore", str),
        "LastModified": ("last-modified", _time),
        "ContentLength": ("content-length", int),
        "MissingMeta": ("x-amz-missing-meta", int),
        "CacheControl": ("cache-control", str),
        "ContentDisposition": ("content-disposition", str),
        "ContentEncoding": ("content-encoding", str),
        "ContentLanguage": ("content-language", str),
        "ContentRange": ("content-range", str),
        "ContentType": ("content-type", str),
        "WebsiteRedirectLocation": ("x-amz-website-redirect-location", str),
        "StorageClass": ("x-amz-storage-class", str),
        "ReplicationStatus": ("x-amz-replication-status", str),
        "PartsCount": ("x-amz-mp-parts-count", int),
        "TagCount": ("x-amz-tagging-count", int),
        "ObjectLockMode": ("x-amz-object-lock-mode", str),
        "ObjectLockRetainUntilDate": ("x-amz-object-lock-retain-until-date", _time),
        "ObjectLockLegalHoldStatus": ("x-amz-object-lock-legal-hold", str),
        "ObjectLockEventHold": ("x-amz-object-lock-event-hold", str),
        "ObjectLockEventHoldDurationDays": ("x-amz-object-lock-event-hold-duration-days", int),
        "ObjectLockEventHoldDurationYears": ("x-amz-object-lock-event-hold-duration-years", int),
    },
}
"""Method of the SDK -> member of its dict -> the header's name in lower case, and what makes the value of it."""

_META: Final = "x-amz-meta-"


def read(call: Call, answer: Answer) -> dict[str, Any]:
    """Return the SDK's dict, but for the body.

    Raises:
        CallError: a header has a malformed value.
    """
    headers = answer.headers
    found: dict[str, Any] = {}
    try:
        for member, (name, kind) in HEADERS[call.operation].items():
            if name in headers:
                found[member] = kind(headers[name])
    except _MALFORMED as error:
        raise nonsense(call, error) from error
    if call.operation == "get_object":
        if "expires" in headers:  # whoever wrote the object may have filled it with anything
            found["ExpiresString"] = headers["expires"]
            with suppress(*_MALFORMED):
                found["Expires"] = _time(headers["expires"])
        found["Metadata"] = {
            name[len(_META) :]: value for name, value in answer.fields if name.lower().startswith(_META)
        }
    ids = {"RequestId": headers.get("x-amzn-requestid")}
    if ids["RequestId"] is None and "x-amz-request-id" in headers:
        ids = {"RequestId": headers["x-amz-request-id"], "HostId": headers.get("x-amz-id-2", "")}
    found["ResponseMetadata"] = metadata(answer, **ids)
    return found


def is_error(body: bytes) -> bool:
    """Whether the answer to a write is an error, which S3 may send with the status 200."""
    if not body.strip():
        return False
    root = _root(body)
    return root is not None and _tag(root) == "Error"


def error_of(call: Call, answer: Answer) -> CallError:
    """Return the error of a refusal."""
    status = answer.status if answer.status >= FAILED else SERVICES_FAULT
    generic = generic_error(call, answer)
    if generic is not None:
        return generic
    root = _root(answer.body) if answer.body else None
    if root is None:
        return status_error(call, answer)
    node = root if _tag(root) == "Error" else next((each for each in root if _tag(each) == "Error"), None)
    texts = {_tag(each): each.text or "" for each in node} if node is not None else {"Code": ""}
    return service_error(call, texts.get("Code", "Unknown"), texts.get("Message", ""), status)


def _root(body: bytes) -> Any:
    from xml.etree.ElementTree import ParseError, XMLParser, fromstring  # refusals only

    try:
        # As for the SDK, the text is UTF-8: Python knows no parser for most other encodings that it may claim to have.
        return fromstring(body, XMLParser(encoding="utf-8"))  # noqa: S314 - the service's own words
    except ParseError:
        return None


def _tag(node: Any) -> str:
    return str(node.tag).rpartition("}")[2]
