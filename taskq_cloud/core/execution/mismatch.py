"""Tells a message whose arguments a task doesn't take from a ``TypeError`` inside the task.

During a rolling deploy old messages meet new code, and new messages meet old code. Both end in a ``TypeError`` at the
call, which looks like a bug of the task.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from taskq_cloud.core.model.task_definition import TaskDefinition, signature_of
from taskq_cloud.errors import ArgumentsMismatch


def explained(
    error: TypeError, definition: TaskDefinition, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> TypeError:
    """Return an ``ArgumentsMismatch`` if the task's function didn't begin because of its arguments; else the error.

    Args:
        error: the error in which the call of the function ended.
        definition: the task.
        args: the positional arguments of the call, with the ``self`` of a bound task.
        kwargs: the keyword arguments of the call.
    """
    if _began(error, definition):
        return error
    try:
        signature_of(definition.function).bind(*args, **kwargs)
    except ValueError:  # functions of C need not have a signature
        return error
    except TypeError as reason:
        given = [f"{len(args) - (definition.bind is not None)} positional", *sorted(kwargs)]
        mismatch = ArgumentsMismatch(
            f"task {definition.name}{definition.signature} does not take the arguments of its message "
            f"({', '.join(given)}): {reason}. If the signature has changed since the message was sent, let the task "
            "take both, or retry on ArgumentsMismatch until the deploy is over"
        )
        return mismatch.with_traceback(error.__traceback__)
    return error


def _began(error: TypeError, definition: TaskDefinition) -> bool:
    code = getattr(inspect.unwrap(definition.function), "__code__", None)
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code is code:
            return True
        traceback = traceback.tb_next
    return False
