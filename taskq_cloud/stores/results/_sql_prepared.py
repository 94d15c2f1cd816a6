"""The part that the stores of SQLAlchemy and of Django share: tables are found and completed before their first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from taskq_cloud.core.flows import Call, Flow
from taskq_cloud.core.ports import Service
from taskq_cloud.stores.results._sql_errors import sql_calls
from taskq_cloud.stores.results._sql_records import Rows, Statement
from taskq_cloud.stores.results._sql_results import SWEEP_EVERY, SQLResults
from taskq_cloud.stores.results._sql_statements import Statements


class PreparedSQLResults(SQLResults):
    """A store whose statements depend on what its client finds in the database.

    Args:
        clock: returns the time, in seconds since the epoch; None: the server's clock for locks, else this machine's.
    """

    _service_name: str
    _service: Service

    def __init__(self, clock: Callable[[], float] | None) -> None:
        super().__init__(clock, SWEEP_EVERY)
        self._server_time = clock is None
        self._prepared: Statements | None = None

    @property
    def services(self) -> Mapping[str, Service]:
        """The client of the database."""
        return {self._service_name: self._service}

    def _run(self, operation: str, statements: Sequence[Statement], announce: Sequence[str] = ()) -> Flow[list[Rows]]:
        answer: list[Rows] = yield from self._call(operation, statements=list(statements))
        return answer

    def _call(self, operation: str, **parameters: Any) -> Flow[Any]:
        return (yield from sql_calls(Call(self._service_name, operation, parameters), self._forget))

    def _forget(self) -> None:
        """Prepare the tables again before the next use, since one is missing."""
        self._prepared = None
