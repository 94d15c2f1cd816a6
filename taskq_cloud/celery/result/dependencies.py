"""The results that follow from a result: Celery's ways through the tree of tasks that tasks have called."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from taskq_cloud.celery.exceptions import IncompleteStream
from taskq_cloud.results.workflow import TaskResult

if TYPE_CHECKING:
    from taskq_cloud.celery.utils.graph import DependencyGraph


class Dependencies(TaskResult):
    """A result with the results that follow from it."""

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
        """Yield this result and all results that follow from it, breadth first, as pairs of parent and result.

        Args:
            intermediate: skip the children of a task that has not ended, instead of raising.

        Raises:
            IncompleteStream: a task has not ended.
        """
        waiting: deque[tuple[Any, Any]] = deque([(None, self)])
        while waiting:
            parent, node = waiting.popleft()
            yield parent, node
            if node.ready():
                waiting.extend((node, child) for child in node.children or ())
            elif not intermediate:
                raise IncompleteStream

    def collect(self, intermediate: bool = False, **kwargs: Any) -> Iterator[tuple[Any, Any]]:
        """Yield this result and all results that follow from it, each with its value; options as for ``get``."""
        for _, result in self.iterdeps(intermediate=intermediate):
            yield result, result.get(**kwargs)

    def get_leaf(self) -> Any:
        """Wait for all results that follow from this one, and return the value of the last one."""
        value = None
        for _, result in self.iterdeps():
            value = result.get()
        return value

    def build_graph(self, intermediate: bool = False, formatter: Any = None) -> DependencyGraph:  # type: ignore[override]  # Celery's
        """Make the graph of this result and all results that follow from it; arguments as for ``iterdeps``."""
        from taskq_cloud.celery.utils.graph import DependencyGraph, GraphFormatter  # few processes draw graphs

        graph = DependencyGraph(formatter=formatter or GraphFormatter(root=self.id, shape="oval"))
        for parent, node in self.iterdeps(intermediate=intermediate):
            graph.add_arc(node)
            if parent:
                graph.add_edge(parent, node)
        return graph

    @cached_property
    def graph(self) -> Any:
        """The graph of this result and all results that follow from it."""
        return self.build_graph()
