"""taskq_cloud: a task queue in which every moving part is a cloud service.

``TaskQ`` is the application; a task declared on it with ``@app.task`` can be called from anywhere and is run by a
container worker (``taskq worker``), an AWS Lambda function (``app.lambda_handler()``), or in place.
"""

from taskq_cloud.app import TaskQ
from taskq_cloud.bound_task import BoundTask, current_request
from taskq_cloud.canvas import (
    Chain,
    Group,
    Signature,
    StampingVisitor,
    chord,
    chunks,
    maybe_signature,
    signature,
    subtask,
    xmap,
    xstarmap,
)
from taskq_cloud.core.serializers import register_serializer, unregister_serializer
from taskq_cloud.errors import (
    ChordError,
    Ignore,
    MaxRetriesExceededError,
    OperationalError,
    Reject,
    Retry,
    SendError,
    SoftTimeLimitExceeded,
    TaskQError,
)
from taskq_cloud.results.async_result import AsyncResult, EagerResult
from taskq_cloud.results.group_result import GroupResult, result_from_tuple
from taskq_cloud.results.result_set import ResultSet
from taskq_cloud.results.waiting import allow_join_result
from taskq_cloud.task import Task

chain = Chain
group = Group

__all__ = [
    "AsyncResult",
    "BoundTask",
    "ChordError",
    "EagerResult",
    "GroupResult",
    "Ignore",
    "MaxRetriesExceededError",
    "OperationalError",
    "Reject",
    "ResultSet",
    "Retry",
    "SendError",
    "Signature",
    "SoftTimeLimitExceeded",
    "StampingVisitor",
    "Task",
    "TaskQ",
    "TaskQError",
    "allow_join_result",
    "chain",
    "chord",
    "chunks",
    "current_request",
    "group",
    "maybe_signature",
    "register_serializer",
    "result_from_tuple",
    "signature",
    "subtask",
    "unregister_serializer",
    "xmap",
    "xstarmap",
]
