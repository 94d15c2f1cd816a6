"""What is due later than Pub/Sub can park it: Cloud Tasks holds it, and publishes it when it is due."""

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
"""Cloud Tasks documentation, "Quotas and limits": maximum schedule time for a task."""

LARGEST_TASK_BYTES: Final = 1_000_000
"""Cloud Tasks documentation, "Quotas and limits"; the request's other parts have to fit in, too."""

_OTHER_PARTS_BYTES: Final = 4_096
_SCOPE: Final = "https://www.googleapis.com/auth/pubsub"


def call_to_delay(queue: str, entry: Entry, due_at: float, topic: str, options: PubSubOptions) -> Call:
    """The call that has a message published later.

    The task gets no name: a name keeps out duplicates for hours after the task is gone, and a message that is parked
    twice is none.

    Raises:
        PayloadTooLarge: Cloud Tasks takes no task so large.
    """
    message: dict[str, Any] = {**entry.message, "data": base64.b64encode(entry.message["data"]).decode()}
    if "ordering_key" in message:
        message["orderingKey"] = message.pop("ordering_key")
    body = json.dumps({"messages": [message]}).encode()
    if len(body) > LARGEST_TASK_BYTES - _OTHER_PARTS_BYTES:
        raise PayloadTooLarge(
            f"queue {queue!r}: a message that is due later than 600 s from now is held by Cloud Tasks, which takes at "
            f"most {LARGEST_TASK_BYTES} bytes; as base64, this one has {len(body)}: put the data into a store and send "
            "its key"
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


def explain(queue: str, error: CallError, options: PubSubOptions) -> OperationalError:
    """A failed call, as this package's error."""
    said = f"{error.code}: {error.message}"
    what = f"queue {queue!r}: a message due later could not be given to Cloud Tasks queue {options.cloud_tasks_queue}"
    if error.code == "NOT_FOUND":
        return OperationalError(
            f"{what}, which does not exist ({said}): create it with gcloud tasks queues create, or set the transport "
            "option cloud_tasks_queue right"
        )
    if error.code == "PERMISSION_DENIED" or error.trouble is Trouble.CREDENTIALS:
        return AccessDenied(
            f"{what} ({said}): grant roles/cloudtasks.enqueuer, and iam.serviceAccounts.actAs on "
            f"{options.cloud_tasks_service_account}"
        )
    kind = Unreachable if error.trouble in (Trouble.TRANSIENT, Trouble.THROTTLED) else OperationalError
    return kind(f"{what} ({said})")
