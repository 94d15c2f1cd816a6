"""Results as parts of a workflow: how far it has come, its tree, ending it, and Celery's graph of results.

``AsyncResult`` and ``ResultSet`` say only which tasks they stand for; what they share beside their own values is here.
A workflow is known by its caller's result, or, from an id alone, by the record that was stored when it was sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from taskq_cloud import errors
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.ports import ResultStore, ScheduleStore
from taskq_cloud.core.serializers import PlainForm
from taskq_cloud.core.workflows import signatures
from taskq_cloud.core.workflows.stages import Stages, TaskStage
from taskq_cloud.runtime.protocols import Backend, V

if TYPE_CHECKING:
    from taskq_cloud.core.workflows.progress import Progress, View
    from taskq_cloud.results.graph import DependencyGraph, GraphFormatter


class NoApplication:
    """The backend of a set that holds nothing and was given no application: what needs no store can be asked of it."""

    @property
    def store(self) -> ResultStore:
        """There is none."""
        raise RuntimeError("a set without results belongs to no application: make it with app=...")

    @property
    def scheduler(self) -> ScheduleStore | None:
        """Nothing that is in it waits."""
        return None

    def run(self, flow: Flow[V]) -> V:
        """Drive a flow that asks for nothing."""
        try:
            step = next(flow)
        except StopIteration as ended:
            value: V = ended.value
            return value
        raise AssertionError(f"nothing can answer {step!r}")

    async def arun(self, flow: Flow[V]) -> V:
        """``run`` on an event loop."""
        return self.run(flow)

    def result_expires_at(self) -> float | None:
        """Nothing is kept."""
        return None


class InWorkflow(PlainForm):
    """What a result of a workflow can do.

    A result stands for all that came before it too: of ``chain(a, group(b, c), d)`` the result is ``d``'s, and its
    workflow all four tasks; that of ``result.parent`` are ``a``, ``b`` and ``c``.
    """

    id: str
    parent: Any

    @property
    def _backend(self) -> Backend:
        """The application."""
        raise NotImplementedError

    # -- what it stands for

    def own_stages(self) -> Stages:
        """Its own part of the workflow, by id, as far as it knows it."""
        raise NotImplementedError

    def own_results(self) -> Iterator[Any]:
        """The results of the tasks in its own part."""
        raise NotImplementedError

    def own_tuples(self) -> list[Any] | None:
        """Of a group, its members as tuples."""
        raise NotImplementedError

    def lineage(self) -> list[Any]:
        """What came before it, the first first, and itself. A chain may be longer than Python's stack is deep."""
        found, each = [], self
        while each is not None:
            found.append(each)
            each = each.parent
        return found[::-1]

    def stages(self) -> Stages:
        """The workflow's tasks, by id, as far as the result knows them."""
        return tuple(stage for each in self.lineage() for stage in each.own_stages())

    def everyone(self) -> Iterator[Any]:
        """The results of all its tasks."""
        return (result for each in self.lineage() for result in each.own_results())

    def as_list(self) -> list[str]:
        """Its id, and those of what came before it."""
        return [each.id for each in reversed(self.lineage())]

    def as_tuple(self) -> Any:
        """Celery's ``((id, parent), members)``, for ``result_from_tuple``: members are None where it is no group."""
        if not self.id:
            raise TypeError(f"{self!r} has no id to be found by: make it a GroupResult")
        written: Any = None
        for each in self.lineage():
            written = ((each.id, written), each.own_tuples())
        return written

    def __json__(self) -> Any:
        """What a task that returns it has as its value: ``as_tuple``, as in Celery."""
        return self.as_tuple()

    # -- the workflow

    def progress(self) -> Progress:
        """How far the workflow has come: how many of its tasks are in which state.

        One read for every 500 tasks (on DynamoDB 10 requests for 1,000); one more where only an id is known.

        Raises:
            ImproperlyConfigured: the application keeps no results.
        """
        return self._backend.run(self._look()).progress

    async def aprogress(self) -> Progress:
        """``progress`` on an event loop."""
        return (await self._backend.arun(self._look())).progress

    def tree(self) -> View:
        """The workflow at this moment: every task with its name, state and times; raises as ``progress`` does."""
        return self._backend.run(self._look(named=True))

    async def atree(self) -> View:
        """``tree`` on an event loop."""
        return await self._backend.arun(self._look(named=True))

    def revoke_workflow(self) -> int:
        """Record every task of the workflow that has not ended as REVOKED; how many these were.

        A task that runs already goes on, but its value is dropped and nothing that follows it is sent. One that waits
        on a queue may still begin: see ``AsyncResult.revoke``. A task whose result is ignored can't be kept from
        sending what follows it.

        Raises:
            ImproperlyConfigured: the application keeps no results.
        """
        return self._backend.run(self._revoke_workflow())

    async def arevoke_workflow(self) -> int:
        """``revoke_workflow`` on an event loop."""
        return await self._backend.arun(self._revoke_workflow())

    def forget_workflow(self) -> None:
        """Remove all results of the workflow from the store, and what is known of its shape.

        Of one that has not ended only what is there now.
        """
        self._backend.run(self._forget_workflow())

    async def aforget_workflow(self) -> None:
        """``forget_workflow`` on an event loop."""
        await self._backend.arun(self._forget_workflow())

    def _line(self, *, named: bool = False) -> Flow[Stages]:
        stages, store = self.stages(), self._backend.store
        if self.id and (named or len(stages) == 1) and store.capabilities.keeps_records:
            from taskq_cloud.core.workflows import shape  # a function that only runs tasks reads none

            recorded = yield from shape.load(store, self.id)
            if recorded is not None:
                return recorded
        return stages

    def _look(self, *, named: bool = False) -> Flow[View]:
        from taskq_cloud.core.workflows.progress import look  # a function that only runs tasks looks at none

        known = self._known()
        if len(known) < sum(1 for _ in self.everyone()):
            refuse_without_store(self._backend)
        stages = yield from self._line(named=named)
        return (yield from look(self._backend.store, stages, known))

    def _known(self) -> Mapping[str, Mapping[str, Any]]:
        return {each.id: each.known.document for each in self.everyone() if each.known is not None}

    def _revoke_workflow(self) -> Flow[int]:
        from taskq_cloud.core.workflows import revocation  # nor ends any

        refuse_without_store(self._backend)
        stages = yield from self._line()
        scheduler, expires_at = self._backend.scheduler, self._backend.result_expires_at()
        return (yield from revocation.revoke(self._backend.store, stages, expires_at, scheduler))

    def _forget_workflow(self) -> Flow[None]:
        from taskq_cloud.core.workflows import revocation  # likewise

        stages = yield from self._line()
        yield from revocation.forget(self._backend.store, stages, self.id)
        for each in self.everyone():
            each.known = None


class InGraph(InWorkflow):
    """What the result of a task can do beside: Celery's graph of the results that have followed from it."""

    def ready(self) -> bool:
        """Whether the task has ended."""
        raise NotImplementedError

    @property
    def children(self) -> list[Any]:
        """The results that follow from it."""
        raise NotImplementedError

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
        """This result and all that follows from it, breadth first: pairs of a result's parent (None) and the result.

        Args:
            intermediate: leave out what follows from a task that has not ended, instead of raising.

        Raises:
            IncompleteStream: a task has not ended.
        """
        waiting: deque[tuple[Any, Any]] = deque([(None, self)])
        met = {self.id}
        while waiting:
            parent, result = waiting.popleft()
            yield parent, result
            if result.ready():
                children = [child for child in result.children if child.id not in met]
                met |= {child.id for child in children}
                waiting.extend((result, child) for child in children)
            elif not intermediate:
                raise errors.IncompleteStream(f"task {result.id} has not ended: what follows it is not known")

    def collect(self, intermediate: bool = False, **options: Any) -> Iterator[tuple[Any, Any]]:
        """This result and all that follows from it, each with its value.

        Args:
            intermediate: as for ``iterdeps``.
            options: as for ``get``, which waits for each.
        """
        for _, result in self.iterdeps(intermediate):
            yield result, result.get(**options)

    def get_leaf(self) -> Any:
        """The value of the last of ``iterdeps``, waiting for each on the way."""
        return deque(self.collect(), maxlen=1)[0][1]

    def build_graph(self, intermediate: bool = False, formatter: GraphFormatter | None = None) -> DependencyGraph[Any]:
        """The graph of ``iterdeps``."""
        from taskq_cloud.results.graph import DependencyGraph, GraphFormatter  # nor draws any

        graph: DependencyGraph[Any] = DependencyGraph(formatter=formatter or GraphFormatter(root=self, shape="oval"))
        for parent, result in self.iterdeps(intermediate):
            graph.add_arc(result)
            if parent is not None:
                graph.add_edge(parent, result)
        return graph

    @property
    def graph(self) -> DependencyGraph[Any]:
        """The graph of this result and all that follows from it, read anew each time; raises as ``iterdeps`` does."""
        return self.build_graph()


def needed(app: Backend | None, call: str) -> Backend:
    """An application that has to be there: there is no current one to fall back on, as Celery has.

    Args:
        app: the application.
        call: what asks for it, for the error, up to its last argument.

    Raises:
        TypeError: there is none.
    """
    if app is None:
        raise TypeError(f"{call}) belongs to no application: write {call}, app=app), or call it on the application")
    return app


def step_of(task_id: str, *, ignored: bool) -> Stages:
    """A task of which only the id is known, as a line."""
    options = {"task_id": task_id, **({"ignore_result": True} if ignored else {})}
    return (TaskStage(signatures.signature_of("", options=options)),)


def refuse_without_store(backend: Backend) -> None:
    """Raise ``ImproperlyConfigured`` where no results are kept."""
    if not backend.store.capabilities.keeps_records:
        raise errors.ImproperlyConfigured(
            "no result store is configured: set TASKQ_RESULTS, for example dynamodb://my-table"
        )
