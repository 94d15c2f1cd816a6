"""Results from tuples, as ``as_tuple`` writes them, and from results of the native API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskq_cloud.celery.result.async_result import ResultBase
from taskq_cloud.celery.result.eager import EagerResult
from taskq_cloud.results import async_result as native
from taskq_cloud.results.result_set import ResultSet as NativeSet
from taskq_cloud.results.workflow import Result


def result_from_tuple(r: Any, app: Any = None) -> Any:
    """Make a result of the tuple that ``as_tuple`` has written; a result stays as it is.

    Args:
        r: the tuple, or the lists that JSON makes of it.
        app: the application; None: the current one.
    """
    from taskq_cloud.celery.app import app_or_default  # the application imports results

    if isinstance(r, ResultBase):
        return r
    app = app_or_default(app)
    lineage: list[Any] = []
    while r is not None and not isinstance(r, ResultBase):
        head, members = r
        result_id, parent = head if isinstance(head, list | tuple) else (head, None)
        lineage.append((result_id, members))
        r = parent or None
    result = r
    # A loop, since a chain may be longer than Python's stack is deep.
    for result_id, members in reversed(lineage):
        if members is None:
            result = app.AsyncResult(result_id, parent=result)
        else:
            result = app.GroupResult(result_id, [result_from_tuple(each, app) for each in members], parent=result)
    return result


def adopt(native_result: Result | None, app: Any) -> Any:
    """Make a Celery result of a result that the native API has returned; None stays None.

    Args:
        native_result: the result, with its parents and members.
        app: the application.
    """
    adopted: Any = None
    for each in () if native_result is None else native_result.lineage():
        adopted = _adopted(each, adopted, app)
    return adopted


def _adopted(result: Result, parent: Any, app: Any) -> Any:
    if isinstance(result, ResultBase):
        return result
    if isinstance(result, NativeSet):
        members = [adopt(each, app) for each in result.results]
        make: Callable[..., Any] = app.GroupResult
        return make(result.id, members, parent=parent) if result.id else app.ResultSet(members)
    assert isinstance(result, native.AsyncResult)  # there are no other results
    if result.in_place and result.known is not None:
        state = result.known
        eager = EagerResult(result.id, state.result, state.state, state.traceback, state.document.get("name"))
        eager.parent = parent
        return eager
    adopted = app.AsyncResult(result.id, parent=parent)
    adopted.ignored = result.ignored
    if result.known is not None:
        adopted.known = result.known
    return adopted
