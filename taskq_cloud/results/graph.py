"""A graph of what depends on what, and its DOT form: Celery's ``DependencyGraph``, for ``AsyncResult.graph``.

A workflow as it was sent, with names and states, is drawn by ``taskq result --tree``; this graph is of results and of
what they have led to, for programs that know it from Celery.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, Final, Generic, TextIO, TypeVar

N = TypeVar("N", bound=Hashable)

_NODE: Final = {"shape": "box", "style": "filled", "fontname": "Helvetica"}


class GraphFormatter:
    """How a graph is written in DOT.

    Args:
        root: the graph's first node, for the attribute ``root``.
        type: ``"digraph"`` or ``"graph"``.
        id: the graph's name.
        indent: how far in it stands, in units of ``inw``.
        inw: the unit.
        scheme: attributes of nodes and edges, in place of the defaults.
    """

    def __init__(
        self,
        root: Any = None,
        type: str = "digraph",
        id: str = "dependencies",
        indent: int = 0,
        inw: str = " " * 4,
        **scheme: Any,
    ) -> None:
        self.root, self.type, self.id, self.scheme = root, type, id, scheme
        self._outer, self._inner = inw * indent, inw * (indent + 1)

    def head(self, **attributes: Any) -> str:
        """The first lines."""
        rooted = {} if self.root is None else {"root": self.label(self.root)}
        of_graph = _attributes({**rooted, **attributes})
        return f"{self._outer}{self.type} {quoted(self.id)} {{" + (
            f"\n{self._inner}graph [{of_graph}]" if of_graph else ""
        )

    def tail(self) -> str:
        """The last line."""
        return f"{self._outer}}}"

    def label(self, node: Any) -> str:
        """What stands for a node: a result's id."""
        return str(node.id if hasattr(node, "id") else node)

    def node(self, node: Any, **attributes: Any) -> str:
        """A node that others depend on."""
        return self._line(quoted(self.label(node)), {**_NODE, "fillcolor": "#b7d7a8", **self.scheme, **attributes})

    def terminal_node(self, node: Any, **attributes: Any) -> str:
        """A node at the end."""
        return self._line(quoted(self.label(node)), {**_NODE, "fillcolor": "#e2f0d9", **self.scheme, **attributes})

    def edge(self, one: Any, other: Any, **attributes: Any) -> str:
        """A line between two nodes."""
        arrow = "->" if self.type == "digraph" else "--"
        return self._line(f"{quoted(self.label(one))} {arrow} {quoted(self.label(other))}", attributes)

    def _line(self, what: str, attributes: Mapping[str, Any]) -> str:
        return f"{self._inner}{what}" + (f" [{_attributes(attributes)}]" if attributes else "")


class DependencyGraph(Generic[N]):
    """Nodes and what each of them leads to.

    Args:
        it: pairs of a node and the nodes it leads to.
        formatter: how it is written in DOT.
    """

    def __init__(self, it: Iterable[tuple[N, Iterable[N]]] = (), formatter: GraphFormatter | None = None) -> None:
        self.formatter = formatter or GraphFormatter()
        self.adjacent: dict[N, list[N]] = {}
        self.update(it)

    def add_arc(self, node: N) -> None:
        """Add a node."""
        self.adjacent.setdefault(node, [])

    def add_edge(self, node: N, other: N) -> None:
        """Add a line from a node that is there to another.

        Raises:
            KeyError: the first is not there.
        """
        self.adjacent[node].append(other)

    def connect(self, graph: DependencyGraph[N]) -> None:
        """Add the nodes of another graph."""
        self.adjacent.update(graph.adjacent)

    def update(self, it: Iterable[tuple[N, Iterable[N]]]) -> None:
        """Add nodes with their lines."""
        pairs = list(it)
        for node, _ in pairs:
            self.add_arc(node)
        for node, others in pairs:
            for other in others:
                self.add_edge(node, other)

    def topsort(self) -> list[N]:
        """The nodes in an order in which each comes after all it leads to.

        Raises:
            ValueError: there is a cycle.
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
        """How many lines lead on from a node and from all that follow it."""
        others = self.adjacent.get(node, [])
        return len(others) + sum(map(self.valency_of, others))

    def edges(self) -> Iterator[N]:
        """The nodes that lead to others."""
        return (node for node, others in self.adjacent.items() if others)

    def items(self) -> Iterable[tuple[N, list[N]]]:
        """The nodes with what they lead to."""
        return self.adjacent.items()

    def to_dot(self, fh: TextIO, formatter: GraphFormatter | None = None) -> None:
        """Write it in DOT.

        Args:
            fh: where to, opened for text.
            formatter: how; the graph's own where None.
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
    """A text as DOT's quoted string.

    Source: Graphviz, "DOT Language", on quoted strings: a quote in them is escaped, and nothing else is.
    """
    # A backslash begins one of a label's escapes (\N, \l); doubled it stands for itself.
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _attributes(attributes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={quoted(str(value))}" for name, value in attributes.items())
