"""What the errors of AWS's SDKs mean: for a client that can't be opened, and for the retry of a call that failed.

The module is imported with the first error. ``clients.aws_sdk`` knows the exceptions, so that it can catch them.
"""

from __future__ import annotations

from typing import Final

from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from taskq_cloud.clients.aws_trouble import trouble_of
from taskq_cloud.clients.base import FILE_ERRORS, MALFORMED
from taskq_cloud.clients.credential_files import unreadable
from taskq_cloud.clients.interruptions import interruption_in
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import AccessDenied, ImproperlyConfigured

_CREDENTIALS_HINT: Final = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile with AWS_PROFILE, or run under a role"
)

_SOURCES: Final = "the AWS_ variables, ~/.aws/config, ~/.aws/credentials"

_CREDENTIAL_ERRORS: Final = (
    sdk.NoCredentialsError,
    sdk.PartialCredentialsError,
    sdk.CredentialRetrievalError,
    sdk.TokenRetrievalError,
    sdk.SSOError,
    RuntimeError,  # the SDK's for renewed credentials that have expired; see ``aws_sdk``
)

_CONNECTION_ERRORS: Final = (
    sdk.ConnectionError,
    sdk.HTTPClientError,
    sdk.IncompleteReadError,
    # The answer isn't an AWS service's, but a load balancer's error page.
    ResponseParserError,
    UnicodeDecodeError,
)


def opening_error(service: str, error: Exception, before: BaseException | None) -> BaseException:
    """Return the exception to raise for a client that can't be opened.

    Args:
        service: the SDK's name of the service.
        error: the SDK's exception.
        before: the exception that was being handled before.
    """
    interruption = interruption_in(error, before, sdk.HTTPClientError)  # credentials may have been read by HTTP
    if interruption is not None:
        return interruption
    if isinstance(error, sdk.NoRegionError):
        return ImproperlyConfigured(
            f"AWS {service}: no region is configured: put one into the URL (sqs://eu-west-1/...), or set "
            "AWS_DEFAULT_REGION"
        )
    if isinstance(error, _CREDENTIAL_ERRORS):
        return AccessDenied(f"AWS {service}: {error}: {_CREDENTIALS_HINT}")
    if isinstance(error, MALFORMED):
        return unreadable(f"AWS {service}", f"{type(error).__name__}: {error}", _SOURCES)
    return ImproperlyConfigured(f"AWS {service}: {error}")


def call_error(call: Call, error: Exception) -> CallError:
    """Return the error of a call that an exception of the SDK has ended."""
    if isinstance(error, sdk.ClientError):
        description = error.response.get("Error", {})
        code, message = description.get("Code", "Unknown"), description.get("Message", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return CallError(call, code, message, trouble_of(code, status))
    name = type(error).__name__
    if isinstance(error, _CONNECTION_ERRORS):
        return CallError(call, name, str(error), Trouble.TRANSIENT)
    if isinstance(error, (*_CREDENTIAL_ERRORS, *FILE_ERRORS)):
        # The next look may find some: the endpoint that serves a role's credentials can start later than this process.
        return CallError(call, name, f"{error}: {_CREDENTIALS_HINT}", Trouble.CREDENTIALS)
    return CallError(call, name, str(error), Trouble.REFUSED)
