"""taskq_cloud: a task queue in which every moving part is a cloud service.

``TaskQ`` is the application; a task declared on it with ``@app.task`` can be called from anywhere and is run by a
container worker (``taskq worker``), an AWS Lambda function (``app.lambda_handler()``), or in place.
"""

from taskq_cloud.app import TaskQ
from taskq_cloud.errors import (
    Ignore,
    MaxRetriesExceededError,
    OperationalError,
    Reject,
    Retry,
    SendError,
    SoftTimeLimitExceeded,
    TaskQError,
)
from taskq_cloud.result import AsyncResult, EagerResult
from taskq_cloud.task import BoundTask, Task, current_request

__all__ = [
    "AsyncResult",
    "BoundTask",
    "EagerResult",
    "Ignore",
    "MaxRetriesExceededError",
    "OperationalError",
    "Reject",
    "Retry",
    "SendError",
    "SoftTimeLimitExceeded",
    "Task",
    "TaskQ",
    "TaskQError",
    "current_request",
]
