"""The base classes of results (``Result``, ``TaskResult``): the workflow that a result stands for, and its graph.

A workflow is known from its caller's result, or, if only an id is known, from the record that was stored when the
workflow was sent. The values of results are read in ``async_result`` and ``result_set``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from taskq_cloud import errors
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.serializers import PlainForm
from taskq_cloud.results.state import StoredState, TaskState
from taskq_cloud.results.waiting import refuse_without_store
from taskq_cloud.runtime.protocols import Backend

if TYPE_CHECKING:
    from taskq_cloud.core.workflows.progress import Progress, View
    from taskq_cloud.core.workflows.stages import Stages
    from taskq_cloud.results.graph import DependencyGraph, GraphFormatter

ResultTuple: TypeAlias = "tuple[tuple[str, ResultTuple | None], list[ResultTuple] | None]"
"""A result as Celery writes it: ``((id, parent), members)``; members are None unless it is the result of a group."""


class Result(PlainForm):
    """The result of a task, or of several tasks: the base class of ``AsyncResult`` and ``ResultSet``.

    A result stands for everything that leads to it. The result of ``chain(a, group(b, c), d)`` is the result of ``d``,
    and its workflow is all four tasks; the workflow of ``result.parent`` is ``a``, ``b`` and ``c``.

    Attributes:
        id: the id of the task or of the group; empty for a set that is neither.
        parent: the result of the task or group before it in a chain.
    """

    id: str
    parent: Result | None

    @property
    def app(self) -> Backend:
        """The application."""
        raise NotImplementedError

    # -- the value

    def get(self, timeout: float | None = None, propagate: bool = True, interval: float = 0.5) -> Any:
        """Wait for the value, or for the list of the values; at most ``timeout`` seconds."""
        raise NotImplementedError

    def aget(self, timeout: float | None = None) -> Coroutine[Any, Any, Any]:
        """Wait for the value, or for the list of the values, on an event loop."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether all tasks have ended."""
        raise NotImplementedError

    def successful(self) -> bool:
        """Whether all tasks have succeeded."""
        raise NotImplementedError

    def failed(self) -> bool:
        """Whether a task has failed."""
        raise NotImplementedError

    def forget(self) -> None:
        """Remove the stored results, and the results of everything before them in a chain."""
        raise NotImplementedError

    def aforget(self) -> Coroutine[Any, Any, None]:
        """Remove the stored results, on an event loop: see ``forget``."""
        raise NotImplementedError

    def revoke(self) -> int:
        """Record the tasks that have not ended as REVOKED, and return their number."""
        raise NotImplementedError

    def arevoke(self) -> Coroutine[Any, Any, int]:
        """Record the tasks that have not ended as REVOKED, on an event loop, and return their number."""
        raise NotImplementedError

    # -- the workflow that leads to it

    def own_stages(self) -> Stages:
        """The result's own part of the workflow, as far as the result knows it."""
        raise NotImplementedError

    def own_results(self) -> Iterator[TaskResult]:
        """The results of the tasks in the result's own part of the workflow."""
        raise NotImplementedError

    def own_tuples(self) -> list[ResultTuple] | None:
        """The members of a group, each as a tuple; None unless the result is a group's."""
        raise NotImplementedError

    def lineage(self) -> list[Result]:
        """List the result and all its parents, the first task's result first."""
        found: list[Result] = []
        each: Result | None = self
        # A loop, since a chain may be longer than Python's stack is deep.
        while each is not None:
            found.append(each)
            each = each.parent
        return found[::-1]

    def stages(self) -> Stages:
        """The stages of the workflow, as far as the result knows them; tasks are known by id only."""
        return tuple(stage for each in self.lineage() for stage in each.own_stages())

    def everyone(self) -> Iterator[TaskResult]:
        """The results of all tasks of the workflow."""
        return (result for each in self.lineage() for result in each.own_results())

    def as_list(self) -> list[str]:
        """List the result's id and the ids of all its parents, the last task's first."""
        return [each.id for each in reversed(self.lineage())]

    def as_tuple(self) -> ResultTuple:
        """Write the result as Celery's tuple, which ``result_from_tuple`` reads: see ``ResultTuple``.

        Raises:
            TypeError: the result has no id.
        """
        if not self.id:
            raise TypeError(f"{self!r} has no id, by which it could be found later: make it a GroupResult")
        parent: ResultTuple | None = None
        for each in self.lineage()[:-1]:
            parent = ((each.id, parent), each.own_tuples())
        return (self.id, parent), self.own_tuples()

    def __json__(self) -> ResultTuple:
        # The value of a task that returns a result, as in Celery.
        return self.as_tuple()

    def progress(self) -> Progress:
        """Count the tasks of the workflow in each state.

        This takes one read for every 500 tasks (on DynamoDB 10 requests for 1,000 tasks), and one more if only an id
        is known.

        Raises:
            ImproperlyConfigured: the application keeps no results.
        """
        return self.app.run(self._look()).progress

    async def aprogress(self) -> Progress:
        """Count the tasks of the workflow in each state, on an event loop: see ``progress``."""
        return (await self.app.arun(self._look())).progress

    def tree(self) -> View:
        """Read the workflow with the name, the state and the times of every task; raises as ``progress`` does."""
        return self.app.run(self._look(named=True))

    async def atree(self) -> View:
        """Read the workflow with every task, on an event loop: see ``tree``."""
        return await self.app.arun(self._look(named=True))

    def revoke_workflow(self) -> int:
        """Record every task of the workflow that has not ended as REVOKED, and return their number.

        A running task goes on, but its value is dropped and nothing that follows it is sent. A task that waits on a
        queue may still begin: see ``AsyncResult.revoke``. A task whose result is ignored can't be kept from sending
        what follows it.

        Raises:
            ImproperlyConfigured: the application keeps no results.
        """
        return self.app.run(self._revoke_workflow())

    async def arevoke_workflow(self) -> int:
        """Revoke every task of the workflow, on an event loop: see ``revoke_workflow``."""
        return await self.app.arun(self._revoke_workflow())

    def forget_workflow(self) -> None:
        """Remove all results of the workflow from the store, and the record of its shape.

        Tasks that end later store their results again.
        """
        self.app.run(self._forget_workflow())

    async def aforget_workflow(self) -> None:
        """Remove all results of the workflow, on an event loop: see ``forget_workflow``."""
        await self.app.arun(self._forget_workflow())

    def _recorded_stages(self, *, named: bool = False) -> Flow[Stages]:
        stages, store = self.stages(), self.app.store
        if self.id and (named or len(stages) == 1) and store.capabilities.keeps_records:
            from taskq_cloud.core.workflows import shape  # few processes read workflows

            recorded = yield from shape.load(store, self.id)
            if recorded is not None:
                return recorded
        return stages

    def _look(self, *, named: bool = False) -> Flow[View]:
        from taskq_cloud.core.workflows.progress import load_view  # few processes read workflows

        known = self._known_documents()
        if len(known) < sum(1 for _ in self.everyone()):
            refuse_without_store(self.app)
        stages = yield from self._recorded_stages(named=named)
        return (yield from load_view(self.app.store, stages, known))

    def _known_documents(self) -> Mapping[str, Mapping[str, Any]]:
        return {each.id: each.known.document for each in self.everyone() if each.known is not None}

    def _ran_in_place(self) -> bool:
        return all(each.in_place for each in self.everyone())

    def _revoke_workflow(self) -> Flow[int]:
        from taskq_cloud.core.workflows import revocation  # few processes revoke workflows

        if self._ran_in_place():
            return 0
        refuse_without_store(self.app)
        stages = yield from self._recorded_stages()
        scheduler, expires_at = self.app.scheduler, self.app.result_expires_at()
        return (yield from revocation.revoke(self.app.store, stages, expires_at, scheduler))

    def _forget_workflow(self) -> Flow[None]:
        from taskq_cloud.core.workflows import revocation  # few processes forget workflows

        if self._ran_in_place():
            return
        stages = yield from self._recorded_stages()
        yield from revocation.forget(self.app.store, stages, self.id)
        for each in self.everyone():
            each.known = None


class TaskResult(StoredState, Result):
    """The result of one task: the base class of ``AsyncResult``, with Celery's graph of the results that follow it.

    Attributes:
        ignored: the call said that no result is stored.
        known: the final state, once it has been read.
        in_place: the task ran in the calling process, so the store has no record of it.
    """

    ignored: bool
    known: TaskState | None
    in_place: ClassVar[bool] = False

    @property
    def children(self) -> Sequence[TaskResult]:
        """The results of the tasks that follow from the task."""
        raise NotImplementedError

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[TaskResult | None, TaskResult]]:
        """Yield this result and all results that follow from it, breadth first, as pairs of parent and result.

        Args:
            intermediate: skip the children of a task that has not ended, instead of raising.

        Raises:
            IncompleteStream: a task has not ended.
        """
        waiting: deque[tuple[TaskResult | None, TaskResult]] = deque([(None, self)])
        met = {self.id}
        while waiting:
            parent, result = waiting.popleft()
            yield parent, result
            if result.ready():
                children = [child for child in result.children if child.id not in met]
                met |= {child.id for child in children}
                waiting.extend((result, child) for child in children)
            elif not intermediate:
                raise errors.IncompleteStream(
                    f"task {result.id} has not ended, so the tasks that follow it are not known: wait for it first"
                )

    def collect(self, intermediate: bool = False, **options: Any) -> Iterator[tuple[TaskResult, Any]]:
        """Yield this result and all results that follow from it, each with its value.

        Args:
            intermediate: as for ``iterdeps``.
            options: as for ``get``, which waits for each result.
        """
        for _, result in self.iterdeps(intermediate):
            yield result, result.get(**options)

    def get_leaf(self) -> Any:
        """Wait for all results that follow from this one, and return the value of the last one."""
        return deque(self.collect(), maxlen=1)[0][1]

    def build_graph(
        self, intermediate: bool = False, formatter: GraphFormatter | None = None
    ) -> DependencyGraph[TaskResult]:
        """Make the graph of this result and all results that follow from it; arguments as for ``iterdeps``."""
        from taskq_cloud.results.graph import DependencyGraph, GraphFormatter  # few processes draw graphs

        graph = DependencyGraph[TaskResult](formatter=formatter or GraphFormatter(root=self, shape="oval"))
        for parent, result in self.iterdeps(intermediate):
            graph.add_arc(result)
            if parent is not None:
                graph.add_edge(parent, result)
        return graph

    @property
    def graph(self) -> DependencyGraph[TaskResult]:
        """The graph of this result and all results that follow from it, read again each time: see ``iterdeps``."""
        return self.build_graph()
