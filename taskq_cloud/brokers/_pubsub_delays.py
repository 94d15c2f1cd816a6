"""Delay a message for longer than Pub/Sub can park it: Cloud Tasks holds it, and publishes it when it is due."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any, Final

from taskq_cloud.brokers._pubsub_messages import Entry
from taskq_cloud.brokers._pubsub_options import PubSubOptions
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import AccessDenied, OperationalError, PayloadTooLarge, Unreachable

LONGEST_DELAY_SECONDS: Final = 30 * 86_400
"""The maximum schedule time for a task (Cloud Tasks documentation, "Quotas and limits")."""

LARGEST_TASK_BYTES: Final = 1_000_000
"""The maximum task size, which includes the request's other parts (Cloud Tasks documentation, "Quotas and limits")."""

_OTHER_PARTS_BYTES: Final = 4_096
_SCOPE: Final = "https://www.googleapis.com/auth/pubsub"


def call_to_delay(queue: str, entry: Entry, due_at: float, topic: str, options: PubSubOptions) -> Call:
    """Make the call that tells Cloud Tasks to publish a message later.

    The task has no name. Cloud Tasks refuses a name for hours after its task has ended, but a message may be held back
    more than once.

    Args:
        queue: the queue's name.
        entry: the message.
        due_at: when the message is due, in seconds since the epoch.
        topic: the full name of the queue's topic.
        options: the broker's settings.

    Raises:
        PayloadTooLarge: the message exceeds Cloud Tasks' limit.
    """
    message: dict[str, Any] = {**entry.message, "data": base64.b64encode(entry.message["data"]).decode()}
    if "ordering_key" in message:
        message["orderingKey"] = message.pop("ordering_key")
    body = json.dumps({"messages": [message]}).encode()
    if len(body) > LARGEST_TASK_BYTES - _OTHER_PARTS_BYTES:
        raise PayloadTooLarge(
            f"queue {queue!r}: a message due more than 600 s from now is held by Cloud Tasks, which takes at most "
            f"{LARGEST_TASK_BYTES} bytes, and this message has {len(body)} in base64: put the data into a store and "
            "send its key"
        )
    host = (options.endpoint or "pubsub.googleapis.com").partition(":")[0]
    task = {
        "schedule_time": datetime.fromtimestamp(due_at, UTC),
        "http_request": {
            "url": f"https://{host}/v1/{topic}:publish",
            "http_method": "POST",
            "headers": {"Content-Type": "application/json"},
            "body": body,
            "oauth_token": {"service_account_email": options.cloud_tasks_service_account, "scope": _SCOPE},
        },
    }
    return Call("cloud_tasks", "create_task", {"request": {"parent": options.cloud_tasks_queue, "task": task}})


def delay_error(queue: str, error: CallError, options: PubSubOptions) -> OperationalError:
    """This package's error for a failed call to Cloud Tasks."""
    answer = f"{error.code}: {error.message}"
    tasks_queue = options.cloud_tasks_queue
    if error.code == "NOT_FOUND":
        return OperationalError(
            f"queue {queue!r}: a delayed message needs the Cloud Tasks queue {tasks_queue}, which does not exist "
            f"({answer}): create it with gcloud tasks queues create, or correct the transport option cloud_tasks_queue"
        )
    what = f"queue {queue!r}: a delayed message could not be given to the Cloud Tasks queue {tasks_queue}"
    if error.code == "PERMISSION_DENIED" or error.trouble is Trouble.CREDENTIALS:
        return AccessDenied(
            f"{what} ({answer}): grant roles/cloudtasks.enqueuer, and iam.serviceAccounts.actAs on "
            f"{options.cloud_tasks_service_account}"
        )
    kind = Unreachable if error.trouble in (Trouble.TRANSIENT, Trouble.THROTTLED) else OperationalError
    return kind(f"{what} ({answer})")
