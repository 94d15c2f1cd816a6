"""Calls on a live deployment: what a refused one means, and the clients that they need.

``provision`` and ``doctor`` are the only parts of this package that create or look at infrastructure; both are run by
people, never by a runtime.
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

_DENIED: Final = frozenset(
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
"""Those whose permission has another name (Service Authorization Reference, "Actions defined by Amazon S3")."""


def action_of(service: str, operation: str) -> str:
    """The permission that an operation takes."""
    own = _S3_ACTIONS.get(operation) if service == "s3" else None
    return f"{service}:{own or ''.join(word.capitalize() for word in operation.split('_'))}"


def ask(
    resource: str, service: str, operation: str, /, absent: Collection[str] = (), **parameters: Any
) -> Flow[Any | None]:
    """Make a call.

    Args:
        resource: what it is about, for errors: ``"queue shop-orders"``.
        service: the SDK's name of the service.
        operation: the SDK's method.
        absent: error codes that say that the resource is not there; the answer is then None.
        parameters: the method's.

    Raises:
        AccessDenied: names the permission.
        OperationalError: names the resource and what the service said.
    """
    try:
        return (yield Call(service, operation, parameters))
    except CallError as error:
        if error.code in absent:
            return None
        raise _explained(resource, error) from error


def _explained(resource: str, error: CallError) -> OperationalError:
    action, said = action_of(error.call.service, error.call.operation), f"{error.code}: {error.message}"
    if error.code in _DENIED:
        return AccessDenied(f"{resource}: {action} was denied ({said}): allow it to the role or user that runs this")
    if error.trouble is Trouble.CREDENTIALS:
        return AccessDenied(f"{resource}: the AWS credentials were not accepted for {action} ({said})")
    if error.trouble is Trouble.REFUSED:
        return OperationalError(f"{resource}: {action} was refused ({said})")
    return Unreachable(f"{resource}: {action} was not answered ({said})")


def region_of_environment() -> str | None:
    """The Region that the SDK finds where a URL names none."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


def services(topology: Topology, of_app: Mapping[str, Service]) -> dict[str, Service]:
    """The clients of a deployment.

    Args:
        topology: the declaration.
        of_app: those that the application's own adapters use: endpoints and Regions in their URLs count here as well.
    """
    others = Service("aws", (("region", topology.region),))
    return {name: of_app.get(name, others) for name in SERVICES}
