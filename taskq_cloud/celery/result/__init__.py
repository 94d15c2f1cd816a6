"""Results of tasks and groups, as Celery's module of this name has them."""

from taskq_cloud.celery.result.async_result import AsyncResult, ResultBase
from taskq_cloud.celery.result.blocking import (
    E_WOULDBLOCK,
    allow_join_result,
    assert_will_not_block,
    denied_join_result,
    task_join_will_block,
)
from taskq_cloud.celery.result.eager import EagerResult
from taskq_cloud.celery.result.group_result import GroupResult
from taskq_cloud.celery.result.result_set import ResultSet
from taskq_cloud.celery.result.tuples import adopt, result_from_tuple

__all__ = (
    "E_WOULDBLOCK",
    "AsyncResult",
    "EagerResult",
    "GroupResult",
    "ResultBase",
    "ResultSet",
    "adopt",
    "allow_join_result",
    "assert_will_not_block",
    "denied_join_result",
    "result_from_tuple",
    "task_join_will_block",
)
