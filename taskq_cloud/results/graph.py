"""A graph of dependencies and its DOT form: Celery's ``DependencyGraph``, for ``AsyncResult.graph``.

The graph holds results and the results that followed from them, for programs that know it from Celery. The command
``taskq result --tree`` draws a workflow as it was sent, with names and states.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Final, Generic, TextIO, TypeVar

N = TypeVar("N", bound=Hashable)

_NODE: Final = {"shape": "box", "style": "filled", "fontname": "Helvetica"}


class GraphFormatter:
    """The writer of a graph's parts in DOT.

    Args:
        root: the graph's first node, for the attribute ``root``.
        type: ``"digraph"`` or ``"graph"``.
        id: the graph's name.
        indent: the indentation of the graph, in units of ``inw``.
        inw: the unit of indentation.
        scheme: attributes of nodes, which replace the defaults.
    """

    def __init__(
        self,
        root: object = None,
        type: str = "digraph",
        id: str = "dependencies",
        indent: int = 0,
        inw: str = " " * 4,
        **scheme: object,
    ) -> None:
        self.root, self.type, self.id, self.scheme = root, type, id, scheme
        self._outer, self._inner = inw * indent, inw * (indent + 1)

    def head(self, **attributes: object) -> str:
        """Write the first lines, with attributes of the graph."""
        rooted = {} if self.root is None else {"root": self.label(self.root)}
        of_graph = _attributes({**rooted, **attributes})
        return f"{self._outer}{self.type} {quoted(self.id)} {{" + (
            f"\n{self._inner}graph [{of_graph}]" if of_graph else ""
        )

    def tail(self) -> str:
        """Write the last line."""
        return f"{self._outer}}}"

    def label(self, node: object) -> str:
        """Name a node: a result by its id, other nodes by their text."""
        return str(getattr(node, "id", node))

    def node(self, node: object, **attributes: object) -> str:
        """Write a node that leads to others."""
        return self._line(quoted(self.label(node)), {**_NODE, "fillcolor": "#b7d7a8", **self.scheme, **attributes})

    def terminal_node(self, node: object, **attributes: object) -> str:
        """Write a node that leads to no other."""
        return self._line(quoted(self.label(node)), {**_NODE, "fillcolor": "#e2f0d9", **self.scheme, **attributes})

    def edge(self, one: object, other: object, **attributes: object) -> str:
        """Write the line from one node to another."""
        arrow = "->" if self.type == "digraph" else "--"
        return self._line(f"{quoted(self.label(one))} {arrow} {quoted(self.label(other))}", attributes)

    def _line(self, text: str, attributes: Mapping[str, object]) -> str:
        return f"{self._inner}{text}" + (f" [{_attributes(attributes)}]" if attributes else "")


class DependencyGraph(Generic[N]):
    """A directed graph: nodes, and the nodes that each of them leads to.

    Args:
        it: pairs of a node and the nodes that it leads to.
        formatter: the writer of the graph's DOT form.
    """

    def __init__(self, it: Iterable[tuple[N, Iterable[N]]] = (), formatter: GraphFormatter | None = None) -> None:
        self.formatter = formatter or GraphFormatter()
        self.adjacent: dict[N, list[N]] = {}
        self.update(it)

    def add_arc(self, node: N) -> None:
        """Add a node."""
        self.adjacent.setdefault(node, [])

    def add_edge(self, node: N, other: N) -> None:
        """Add an edge from a node of the graph to another node.

        Raises:
            KeyError: the graph doesn't have the first node.
        """
        self.adjacent[node].append(other)

    def connect(self, graph: DependencyGraph[N]) -> None:
        """Add the nodes and edges of another graph; they replace the edges of nodes that are in both."""
        self.adjacent.update(graph.adjacent)

    def update(self, it: Iterable[tuple[N, Iterable[N]]]) -> None:
        """Add nodes with their edges."""
        pairs = list(it)
        for node, _ in pairs:
            self.add_arc(node)
        for node, others in pairs:
            for other in others:
                self.add_edge(node, other)

    def topsort(self) -> list[N]:
        """Sort the nodes so that each comes after all nodes that it leads to.

        Raises:
            ValueError: the graph has a cycle.
        """
        incoming = Counter(other for others in self.adjacent.values() for other in others)
        free, ordered = [node for node in self if not incoming[node]], []
        while free:
            node = free.pop()
            ordered.append(node)
            for other in self.adjacent.get(node, ()):
                incoming[other] -= 1
                if not incoming[other]:
                    free.append(other)
        if incoming.total():
            raise ValueError("the graph has a cycle")
        return ordered[::-1]

    def valency_of(self, node: N) -> int:
        """Count the edges that begin at a node and at all nodes that follow it."""
        others = self.adjacent.get(node, [])
        return len(others) + sum(map(self.valency_of, others))

    def edges(self) -> Iterator[N]:
        """The nodes that lead to others, as Celery's method of this name returns them."""
        return (node for node, others in self.adjacent.items() if others)

    def items(self) -> Iterable[tuple[N, list[N]]]:
        """The nodes with the nodes that they lead to."""
        return self.adjacent.items()

    def to_dot(self, fh: TextIO, formatter: GraphFormatter | None = None) -> None:
        """Write the graph in DOT.

        Args:
            fh: the file, opened for text.
            formatter: the writer; None: the graph's own.
        """
        draw = formatter or self.formatter
        lines = [draw.head()]
        lines += [draw.node(node) if others else draw.terminal_node(node) for node, others in self.items()]
        lines += [draw.edge(node, other) for node, others in self.items() for other in others]
        print(*lines, draw.tail(), sep="\n", file=fh)

    def __iter__(self) -> Iterator[N]:
        return iter(self.adjacent)

    def __getitem__(self, node: N) -> list[N]:
        return self.adjacent[node]

    def __len__(self) -> int:
        return len(self.adjacent)

    def __contains__(self, node: object) -> bool:
        return node in self.adjacent

    def __repr__(self) -> str:
        return "\n".join(
            f"{self.formatter.label(node)}({', '.join(map(self.formatter.label, others))})"
            for node, others in self.items()
        )


def quoted(text: str) -> str:
    """Write a text as a quoted string of DOT.

    Source: Graphviz, "DOT Language", on quoted strings: a quote in them is escaped, and nothing else is.
    """
    # In a label, a backslash begins an escape (\N, \l); a doubled one stands for itself.
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _attributes(attributes: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={quoted(str(value))}" for name, value in attributes.items())
