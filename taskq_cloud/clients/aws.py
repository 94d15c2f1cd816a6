"""AWS services, as botocore and aiobotocore know them: ``sqs``, ``dynamodb``, ``s3``, ``scheduler``.

A call's operation is the SDK's method name, its parameters the method's keyword arguments, its answer the SDK's dict,
in which a stream (the body of an object, the payload of a function) has been read to its end.
Credentials, profiles and ``AWS_ENDPOINT_URL`` are found by the SDK itself, once for each client: a client that was
dropped (``core.calls.Renew``) is opened by a new session, which reads them again.

What an error means for a retry is decided here; what it means for a queue or a table, in the adapters. The SDKs' own
retries are off. boto3 is not used: it is botocore and some 60 modules more.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import AccessDenied, ImproperlyConfigured, MissingExtra

try:
    from botocore import exceptions as sdk
    from botocore.parsers import ResponseParserError
except ImportError as error:
    raise MissingExtra("an AWS service", "lambda") from error

CONNECT_TIMEOUT_SECONDS: Final = 5.0
READ_TIMEOUT_SECONDS: Final = 35.0
"""Longer than SQS's longest poll, 20 s (SQS Developer Guide, "Amazon SQS short and long polling")."""

LARGEST_POOL: Final = 200
"""Connections one client keeps at most. aiohttp makes further calls wait, and every queue's long poll holds one."""

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
"""Errors of the service's own, whatever status they come with."""

_CREDENTIALS: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "TokenRefreshRequired",
        # A key that was rotated while the client lived; the new one may be in the environment or the file by now.
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
    }
)

_HOW_TO_GIVE_CREDENTIALS: Final = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile with AWS_PROFILE, or run under a role"
)

_CREDENTIAL_ERRORS: Final = (
    sdk.NoCredentialsError,
    sdk.PartialCredentialsError,
    sdk.CredentialRetrievalError,
    sdk.TokenRetrievalError,
    sdk.SSOError,
)

_CONNECTION_ERRORS: Final = (
    sdk.ConnectionError,
    sdk.HTTPClientError,
    sdk.IncompleteReadError,
    # An answer that is no AWS service's: a load balancer's error page.
    ResponseParserError,
)

_FAILURES: Final = (sdk.ClientError, sdk.BotoCoreError, ResponseParserError)


def open_client(service: str, options: Mapping[str, Any]) -> AWSClient:
    """Open one service's client.

    Args:
        service: the SDK's name of the service.
        options: ``region``, ``endpoint_url``, ``connect_timeout_seconds``, ``read_timeout_seconds``, and S3's
            ``addressing_style``, as far as they are given.

    Raises:
        ImproperlyConfigured: no region, an unknown profile, a malformed endpoint.
        AccessDenied: a source of credentials is configured and gives none.
    """
    from botocore.config import Config  # an event loop opens aiobotocore's instead
    from botocore.session import Session

    try:
        client: Any = Session().create_client(service, **_arguments(options, Config))
    except (sdk.BotoCoreError, ValueError) as error:
        raise _opening_error(service, error) from error
    return AWSClient(client)


async def open_async_client(service: str, options: Mapping[str, Any]) -> AsyncAWSClient:
    """``open_client`` for an event loop."""
    try:
        from aiobotocore.config import AioConfig  # synchronous callers do without aiobotocore
        from aiobotocore.session import AioSession
    except ImportError as error:
        raise MissingExtra(f"the AWS service {service} on an event loop", "aws") from error

    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(
                AioSession().create_client(service, **_arguments(options, AioConfig))
            )
        except (sdk.BotoCoreError, ValueError) as error:
            raise _opening_error(service, error) from error
        return AsyncAWSClient(client, stack.pop_all())


class AWSClient:
    """A botocore client. Threads may share it.

    Args:
        client: the SDK's client.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def call(self, call: Call) -> Any:
        """Make one call, once.

        Raises:
            CallError: it failed.
        """
        try:
            answer = getattr(self._client, call.operation)(**call.parameters)
            return {name: value.read() if _is_stream(value) else value for name, value in answer.items()}
        except _FAILURES as error:
            raise _call_error(call, error) from error

    def close(self) -> None:
        """Close the connections that are idle."""
        self._client.close()


class AsyncAWSClient:
    """An aiobotocore client, of the event loop that opened it.

    Args:
        client: the SDK's client.
        stack: what closes it.
    """

    def __init__(self, client: Any, stack: AsyncExitStack) -> None:
        self._client = client
        self._stack = stack

    async def call(self, call: Call) -> Any:
        """Make one call, once.

        Raises:
            CallError: it failed.
        """
        try:
            answer = await getattr(self._client, call.operation)(**call.parameters)
            return {name: await value.read() if _is_stream(value) else value for name, value in answer.items()}
        except _FAILURES as error:
            raise _call_error(call, error) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._stack.aclose()


def _arguments(options: Mapping[str, Any], config: Any) -> dict[str, Any]:
    return {
        "region_name": options.get("region") or None,
        "endpoint_url": options.get("endpoint_url") or None,
        "config": config(
            connect_timeout=options.get("connect_timeout_seconds") or CONNECT_TIMEOUT_SECONDS,
            read_timeout=options.get("read_timeout_seconds") or READ_TIMEOUT_SECONDS,
            max_pool_connections=LARGEST_POOL,
            retries={"mode": "standard", "total_max_attempts": 1},
            s3={"addressing_style": options.get("addressing_style") or "auto"},
        ),
    }


def _is_stream(value: Any) -> bool:
    return callable(getattr(value, "read", None))


def _opening_error(service: str, error: Exception) -> Exception:
    if isinstance(error, sdk.NoRegionError):
        return ImproperlyConfigured(
            f"AWS {service}: no region is known: put one in the URL (sqs://eu-west-1/...), or set AWS_DEFAULT_REGION"
        )
    if isinstance(error, _CREDENTIAL_ERRORS):
        return AccessDenied(f"AWS {service}: {error}: {_HOW_TO_GIVE_CREDENTIALS}")
    return ImproperlyConfigured(f"AWS {service}: {error}")


def _call_error(call: Call, error: Exception) -> CallError:
    if isinstance(error, sdk.ClientError):
        description = error.response.get("Error", {})
        code, message = description.get("Code", "Unknown"), description.get("Message", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return CallError(call, code, message, _trouble(code, status))
    name = type(error).__name__
    if isinstance(error, _CONNECTION_ERRORS):
        return CallError(call, name, str(error), Trouble.TRANSIENT)
    if isinstance(error, _CREDENTIAL_ERRORS):
        # They may be there the next time they are looked for: a role's endpoint can be late when a machine starts.
        return CallError(call, name, f"{error}: {_HOW_TO_GIVE_CREDENTIALS}", Trouble.CREDENTIALS)
    return CallError(call, name, str(error), Trouble.REFUSED)


def _trouble(code: str, status: int) -> Trouble:
    if code in _THROTTLED:
        return Trouble.THROTTLED
    if code in _CREDENTIALS:
        return Trouble.CREDENTIALS
    if code in _TRANSIENT or status >= 500:  # noqa: PLR2004 - HTTP's server errors
        return Trouble.TRANSIENT
    return Trouble.REFUSED
