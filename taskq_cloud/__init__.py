"""taskq_cloud: a task queue in which every moving part is a cloud service.

``TaskQ`` is the application; a task declared on it with ``@app.task`` can be called from anywhere and is run by a
container worker (``taskq worker``), an AWS Lambda function (``app.lambda_handler()``), or in place.

A name is imported when it is first asked for, so that a process pays for no part of the package that it doesn't use.
"""

import sys
from typing import TYPE_CHECKING, Any

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

if "logging" in sys.modules:
    # Powertools for AWS Lambda gives its configuration to the loggers that are there when it is asked to. Lambda itself
    # imports logging; a process that logs nothing doesn't.
    sys.modules["logging"].getLogger(__name__)

if TYPE_CHECKING:
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
    from taskq_cloud.core.model.hooks import Hooks
    from taskq_cloud.core.serializers import register_serializer, unregister_serializer
    from taskq_cloud.results.async_result import AsyncResult, EagerResult
    from taskq_cloud.results.group_result import GroupResult, result_from_tuple
    from taskq_cloud.results.result_set import ResultSet
    from taskq_cloud.results.waiting import allow_join_result
    from taskq_cloud.runtime.components import Component
    from taskq_cloud.task import Task

    chain = Chain
    group = Group
else:
    _MODULES = {
        "app": "TaskQ",
        "bound_task": "BoundTask current_request",
        "canvas": "Signature StampingVisitor chord chunks maybe_signature signature subtask xmap xstarmap",
        "canvas.chain": "Chain",
        "canvas.group": "Group",
        "core.model.hooks": "Hooks",
        "runtime.components": "Component",
        "core.serializers": "register_serializer unregister_serializer",
        "results.async_result": "AsyncResult EagerResult",
        "results.group_result": "GroupResult result_from_tuple",
        "results.result_set": "ResultSet",
        "results.waiting": "allow_join_result",
        "task": "Task",
    }
    _MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}
    _CELERYS = {"chain": "Chain", "group": "Group"}

    def __getattr__(name: str) -> Any:
        found = _CELERYS.get(name, name)
        if found not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[found]}"), found)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "AsyncResult",
    "BoundTask",
    "ChordError",
    "Component",
    "EagerResult",
    "GroupResult",
    "Hooks",
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
