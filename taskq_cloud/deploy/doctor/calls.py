"""Calls of ``taskq provision`` and ``taskq doctor``: how they are made, and the errors that explain a failed one.

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

SERVICES: Final = (
    "application-autoscaling",
    "cloudwatch",
    "dynamodb",
    "ecs",
    "iam",
    "kms",
    "lambda",
    "logs",
    "s3",
    "scheduler",
    "sns",
    "sqs",
)

NO_QUEUE: Final = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
"""The error codes of SQS for a queue that does not exist."""

_DENIED_CODES: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "AuthorizationError", "403", "AllAccessDisabled", "KmsAccessDenied"}
    # Google's codes over gRPC and HTTP, and Azure's.
    | {"PERMISSION_DENIED", "Forbidden", "AuthorizationFailure", "AuthorizationPermissionMismatch"}
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


_OTHER_CLOUDS: Final = {
    ("azureblob", "get_container"): "Microsoft.Storage/storageAccounts/blobServices/containers/read",
    ("cloud_run", "get_worker_pool"): "run.workerPools.get",
    ("cloud_scheduler", "get_job"): "cloudscheduler.jobs.get",
    ("gcs", "get_bucket"): "storage.buckets.get",
    ("publisher", "get_iam_policy"): "pubsub.topics.getIamPolicy",
    ("publisher", "get_topic"): "pubsub.topics.get",
    ("subscriber", "get_iam_policy"): "pubsub.subscriptions.getIamPolicy",
    ("subscriber", "get_subscription"): "pubsub.subscriptions.get",
}
"""The permissions of operations on other clouds (Google's and Azure's references of permissions)."""


def action_of(service: str, operation: str) -> str:
    """Return the permission that an operation requires: ``"sqs:GetQueueUrl"`` for ``get_queue_url``."""
    if (service, operation) in _OTHER_CLOUDS:
        return _OTHER_CLOUDS[service, operation]
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
        return AccessDenied(f"{resource}: the credentials were not accepted for {action} ({answer}): renew them")
    if error.trouble is Trouble.REFUSED:
        return OperationalError(f"{resource}: {action} was refused ({answer})")
    return Unreachable(f"{resource}: {action} was not answered ({answer}): try again")


def region_of_environment() -> str | None:
    """Return the Region that the SDK uses where a URL names none."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


def services(topology: Topology, of_app: Mapping[str, Service]) -> dict[str, Service]:
    """Return the clients of ``SERVICES``, of Cloud Run, and of the application's own adapters, by the service's name.

    Args:
        topology: the declaration.
        of_app: the clients of the application's own adapters: these commands use the endpoints and Regions of its URLs.
    """
    others = Service("aws", (("region", topology.region),))
    return {**of_app, **{name: of_app.get(name, others) for name in SERVICES}, "cloud_run": Service("pubsub")}


def uses_no_tls(of_app: Mapping[str, Service]) -> bool:
    """Return whether the application reaches SQS over plain HTTP, as on a local stack."""
    options = dict(of_app["sqs"].options) if "sqs" in of_app else {}
    given = (options.get("endpoint_url"), *map(os.environ.get, ("AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL")))
    return str(next((each for each in given if each), "")).startswith("http://")
