"""The errors of RabbitMQ in the words of this package: what failed, at which server, and the way out."""

from __future__ import annotations

from typing import Final

from taskq_cloud.core.flows import CallError, Trouble
from taskq_cloud.errors import AccessDenied, OperationalError, QueueNotFound, Unreachable

_HINTS: Final = {
    "Blocked": "free memory or disk space at the server, or change vm_memory_high_watermark or disk_free_limit",
    "ACCESS_REFUSED": "check the user and the password in the URL, and the user's permissions (rabbitmqctl "
    "set_permissions): to configure is needed to declare queues, or set create_missing_queues to false",
    "NOT_ALLOWED": "create the virtual host (rabbitmqctl add_vhost), and give the user permissions on it",
    "PRECONDITION_FAILED": "the queue exists with other arguments: set queue_type, max_priority, delivery_limit or "
    "queue_arguments in broker_transport_options as it was declared, or delete the queue while it is empty",
    "RESOURCE_LOCKED": "the queue is exclusive to another connection: use another name",
}


def operational_error(about: str, error: CallError) -> OperationalError:
    """Turn a failed call into an error that says whether waiting may help.

    Args:
        about: the queue or the store, for the text.
        error: the failed call.
    """
    hint = _HINTS.get(error.code)
    text = f"{about}: RabbitMQ at {error.message}" + (f": {hint}" if hint else "")
    if error.trouble is Trouble.TRANSIENT or error.code == "Blocked":
        return Unreachable(text)
    if error.code == "ACCESS_REFUSED" or (error.code == "NOT_ALLOWED" and "refused" in error.message):
        return AccessDenied(text)
    if error.code == "NOT_FOUND":
        return QueueNotFound(f"{text}: create the queue, or set create_missing_queues to true")
    return OperationalError(text)
