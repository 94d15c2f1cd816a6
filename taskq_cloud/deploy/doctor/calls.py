"""AWS calls of ``taskq provision`` and ``taskq doctor``: how they are made, and the errors that explain a failed one.

These two commands are the only parts of this package that create or inspect infrastructure. People run them; a worker
or a function never does.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any, Final

from taskq_cloud.core.flows import Call, CallError, Flow, Trouble
from taskq_cloud.core.ports import Service
from taskq_cloud.deploy.topology.model import Topology
from taskq_cloud.errors import AccessDenied, OperationalError, Unreachable

SERVICES: Final = ("dynamodb", "ecs", "iam", "lambda", "s3", "scheduler", "sqs")

_DENIED_CODES: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "AuthorizationError", "403", "AllAccessDisabled", "KmsAccessDenied"}
)

_S3_ACTIONS: Final = {
    "get_bucket_encryption": "GetEncryptionConfiguration",
    "get_bucket_lifecycle_configuration": "GetLifecycleConfiguration",
    "get_public_access_block": "GetBucketPublicAccessBlock",
    "head_bucket": "ListBucket",
    "put_bucket_encryption": "PutEncryptionConfiguration",
    "put_bucket_lifecycle_configuration": "PutLifecycleConfiguration",
    "put_public_access_block": "PutBucketPublicAccessBlock",
}
"""The operations of S3 whose permission has another name than the operation (Service Authorization Reference, "Actions
defined by Amazon S3")."""


def action_of(service: str, operation: str) -> str:
    """Return the IAM action that an operation requires: ``"sqs:GetQueueUrl"`` for ``get_queue_url``."""
    action = _S3_ACTIONS.get(operation) if service == "s3" else None
    return f"{service}:{action or ''.join(word.capitalize() for word in operation.split('_'))}"


def call(
    resource: str, service: str, operation: str, /, absent: Collection[str] = (), **parameters: Any
) -> Flow[Any | None]:
    """Make one call.

    Args:
        resource: the resource that the call is about, for errors: ``"queue shop-orders"``.
        service: the SDK's name of the service: ``"sqs"``.
        operation: the SDK's method: ``"get_queue_url"``.
        absent: error codes that mean that the resource does not exist.
        parameters: the method's keyword arguments.

    Returns:
        The service's answer; None if the resource does not exist.

    Raises:
        AccessDenied: the call is not permitted; the error names the permission.
        Unreachable: the service did not answer.
        OperationalError: the service refused the call; the error names the resource and quotes the service's error.
    """
    try:
        return (yield Call(service, operation, parameters))
    except CallError as error:
        if error.code in absent:
            return None
        raise _explained(resource, error) from error


def _explained(resource: str, error: CallError) -> OperationalError:
    action, answer = action_of(error.call.service, error.call.operation), f"{error.code}: {error.message}"
    if error.code in _DENIED_CODES:
        return AccessDenied(
            f"{resource}: {action} was denied ({answer}): allow it for the role or user that runs this command"
        )
    if error.trouble is Trouble.CREDENTIALS:
        return AccessDenied(f"{resource}: the AWS credentials were not accepted for {action} ({answer}): renew them")
    if error.trouble is Trouble.REFUSED:
        return OperationalError(f"{resource}: {action} was refused ({answer})")
    return Unreachable(f"{resource}: {action} was not answered ({answer}): try again")


def region_of_environment() -> str | None:
    """Return the Region that the SDK uses where a URL names none."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


def services(topology: Topology, of_app: Mapping[str, Service]) -> dict[str, Service]:
    """Return the clients that ``SERVICES`` need, by the name of the service.

    Args:
        topology: the declaration.
        of_app: the clients of the application's own adapters: these commands use the endpoints and Regions of its URLs.
    """
    others = Service("aws", (("region", topology.region),))
    return {name: of_app.get(name, others) for name in SERVICES}
