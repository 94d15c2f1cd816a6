"""What the error codes of AWS's services mean for the retry of a call, whichever client has made it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from taskq_cloud.core.flows import Trouble

_THROTTLED: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "KMS.ThrottlingException",
        "KmsThrottled",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""AWS SDKs and Tools Reference Guide, "Retry behavior", and the SQS and DynamoDB API references, "Common Errors"."""

_TRANSIENT: Final = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
    }
)
"""Codes of errors within the service, whatever their HTTP status."""

_EXPIRED_CREDENTIALS: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "TokenRefreshRequired",
        # The key was rotated while the client was open; the environment or the profile may have the new one by now.
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
    }
)


def trouble_of(code: str, status: int) -> Trouble:
    """Return the reason for a refusal.

    Args:
        code: the service's error code.
        status: the HTTP status.
    """
    if code in _THROTTLED:
        return Trouble.THROTTLED
    if code in _EXPIRED_CREDENTIALS:
        return Trouble.CREDENTIALS
    if code in _TRANSIENT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Trouble.TRANSIENT
    return Trouble.REFUSED
