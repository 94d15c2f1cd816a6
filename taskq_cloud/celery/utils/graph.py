"""Graphs of objects and of what they depend on, and pictures of them in the DOT language."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from ._encoding import bytes_to_str, safe_str

__all__ = ("DOT", "CycleError", "DependencyGraph", "GraphFormatter")


class DOT:
    """The parts of a graph in the DOT language."""

    HEAD = "\n{IN}{type} {id} {{\n{INp}graph [{attrs}]\n"
    ATTR = "{name}={value}"
    NODE = '{INp}"{0}" [{attrs}]'
    EDGE = '{INp}"{0}" {dir} "{1}" [{attrs}]'
    ATTRSEP = ", "
    DIRS: ClassVar = {"graph": "--", "digraph": "->"}
    TAIL = "{IN}}}"


class CycleError(Exception):
    """Objects of a graph depend on each other in a circle."""


class DependencyGraph:
    """Objects, and the objects that each of them depends on.

    Args:
        it: pairs of an object and its dependencies.
        formatter: draws the graph; by default a ``GraphFormatter``.
    """

    def __init__(self, it: Iterable[tuple[Any, Iterable[Any]]] | None = None, formatter: Any = None) -> None:
        self.formatter: Any = formatter or GraphFormatter()
        self.adjacent: dict[Any, list[Any]] = {}
        if it is not None:
            self.update(it)

    def add_arc(self, obj: Any) -> None:
        """Add an object that depends on nothing yet."""
        self.adjacent.setdefault(obj, [])

    def add_edge(self, A: Any, B: Any) -> None:
        """Let the object ``A`` depend on ``B``."""
        self[A].append(B)

    def connect(self, graph: "DependencyGraph") -> None:
        """Add the objects of another graph."""
        self.adjacent.update(graph.adjacent)

    def topsort(self) -> list[Any]:
        """Return the objects, each after those that it depends on; of each circle, one object stands for all."""
        components = self._tarjan72()
        component_of = {node: component for component in components for node in component}
        condensed = DependencyGraph()
        for component in components:
            condensed.add_arc(component)
        for node in self:
            for dependency in self[node]:
                if component_of[node] != component_of[dependency]:
                    condensed.add_edge(component_of[node], component_of[dependency])
        return [component[0] for component in condensed._khan62()]

    def valency_of(self, obj: Any) -> int:
        """Return how many dependencies an object has, with the dependencies of these."""
        if obj not in self:
            return 0
        return len(self[obj]) + sum(self.valency_of(each) for each in self[obj])

    def update(self, it: Iterable[tuple[Any, Iterable[Any]]]) -> None:
        """Add pairs of an object and its dependencies."""
        pairs = list(it)
        for obj, _ in pairs:
            self.add_arc(obj)
        for obj, dependencies in pairs:
            for dependency in dependencies:
                self.add_edge(obj, dependency)

    def edges(self) -> Iterator[Any]:
        """Yield each object that depends on another."""
        return (obj for obj, adjacent in self.items() if adjacent)

    def _khan62(self) -> list[Any]:
        """Sort a graph without circles.

        Source: https://en.wikipedia.org/wiki/Topological_sorting
        """
        dependents = Counter(dependency for node in self for dependency in self[node])
        ready = [node for node in self if not dependents[node]]
        found = []
        while ready:
            node = ready.pop()
            found.append(node)
            for dependency in self[node]:
                dependents[dependency] -= 1
                if dependents[dependency] == 0:
                    ready.append(dependency)
        return found[::-1]

    def _tarjan72(self) -> list[tuple[Any, ...]]:
        """Find the objects that depend on each other, directly or not.

        Source: https://en.wikipedia.org/wiki/Tarjan%27s_strongly_connected_components_algorithm
        """
        components: list[tuple[Any, ...]] = []
        stack: list[Any] = []
        low: dict[Any, int] = {}

        def visit(node: Any) -> None:
            if node in low:
                return
            number = low[node] = len(low)
            position = len(stack)
            stack.append(node)
            for dependency in self[node]:
                visit(dependency)
                low[node] = min(low[node], low[dependency])
            if low[node] == number:
                component = tuple(stack[position:])
                del stack[position:]
                components.append(component)
                low.update(dict.fromkeys(component, len(self)))

        for node in self:
            visit(node)
        return components

    def to_dot(self, fh: Any, formatter: Any = None) -> None:
        """Write the graph to a file in the DOT language."""
        draw = formatter or self.formatter
        seen = set()

        def write(text: Any) -> None:
            print(bytes_to_str(text), file=fh)

        def write_node(obj: Any, text: Any) -> None:
            if draw.label(obj) not in seen:
                write(text(obj))
                seen.add(draw.label(obj))

        write(draw.head())
        for obj, adjacent in self.items():
            if not adjacent:
                write_node(obj, draw.terminal_node)
            for dependency in adjacent:
                write_node(obj, draw.node)
                write(draw.edge(obj, dependency))
        write(draw.tail())

    def format(self, obj: Any) -> Any:
        """Return an object as the formatter shows it."""
        return self.formatter(obj) if self.formatter else obj

    def __iter__(self) -> Iterator[Any]:
        return iter(self.adjacent)

    def __getitem__(self, node: Any) -> list[Any]:
        return self.adjacent[node]

    def __len__(self) -> int:
        return len(self.adjacent)

    def __contains__(self, obj: object) -> bool:
        return obj in self.adjacent

    def items(self) -> Any:
        """Return the objects with their dependencies."""
        return self.adjacent.items()

    iteritems = items

    def __repr__(self) -> str:
        return "\n".join(self.repr_node(node) for node in self)

    def repr_node(self, obj: Any, level: int = 1, fmt: str = "{0}({1})") -> str:
        """Return an object with its dependencies below it, as text."""
        lines = [fmt.format(obj, self.valency_of(obj))]
        for other in self.adjacent.get(obj, ()):
            lines.append("     " * level + fmt.format(other, self.valency_of(other)))
            lines += self.repr_node(other, level + 1).split("\n")[1:]
        return "\n".join(lines)


class GraphFormatter:
    """Writes the parts of a graph in the DOT language.

    Args:
        root: the object that the picture begins with.
        type: "digraph" or "graph".
        id: the name of the graph.
        indent: how many steps every line is indented by.
        inw: one step.
        scheme: attributes of every part.
    """

    _attr = DOT.ATTR
    _node = DOT.NODE
    _edge = DOT.EDGE
    _head = DOT.HEAD.strip()
    _tail = DOT.TAIL
    _attrsep = DOT.ATTRSEP
    _dirs: ClassVar = dict(DOT.DIRS)

    scheme: Mapping[str, Any] = MappingProxyType(
        {"shape": "box", "arrowhead": "vee", "style": "filled", "fontname": "HelveticaNeue"}
    )
    edge_scheme: ClassVar[Any] = {"color": "darkseagreen4", "arrowcolor": "black", "arrowsize": 0.7}
    node_scheme: ClassVar[Any] = {"fillcolor": "palegreen3", "color": "palegreen4"}
    term_scheme: ClassVar[Any] = {"fillcolor": "palegreen1", "color": "palegreen2"}
    graph_scheme: Mapping[str, Any] = MappingProxyType({"bgcolor": "mintcream"})

    def __init__(
        self, root: Any = None, type: Any = None, id: Any = None, indent: int = 0, inw: str = " " * 4, **scheme: Any
    ) -> None:
        self.id = id or "dependencies"
        self.root = root
        self.type = type or "digraph"
        self.direction = self._dirs[self.type]
        self.IN = inw * (indent or 0)
        self.INp = self.IN + inw
        self.scheme = dict(self.scheme, **scheme)
        self.graph_scheme = dict(self.graph_scheme, root=self.label(self.root))

    def attr(self, name: str, value: Any) -> bytes:
        """Return an attribute."""
        return self.FMT(self._attr, name=name, value=f'"{value}"')

    def attrs(self, d: Any, scheme: Any = None) -> str:
        """Return attributes, with those of every part."""
        own = dict(scheme, **d or {}) if scheme else d
        return self._attrsep.join(safe_str(self.attr(name, value)) for name, value in dict(self.scheme, **own).items())

    def head(self, **attrs: Any) -> bytes:
        """Return the first lines of a graph."""
        return self.FMT(self._head, id=self.id, type=self.type, attrs=self.attrs(attrs, self.graph_scheme))

    def tail(self) -> bytes:
        """Return the last line of a graph."""
        return self.FMT(self._tail)

    def label(self, obj: Any) -> Any:
        """Return the text that stands for an object."""
        return obj

    def node(self, obj: Any, **attrs: Any) -> bytes:
        """Return the line of an object that depends on others."""
        return self.draw_node(obj, self.node_scheme, attrs)

    def terminal_node(self, obj: Any, **attrs: Any) -> bytes:
        """Return the line of an object that depends on nothing."""
        return self.draw_node(obj, self.term_scheme, attrs)

    def edge(self, a: Any, b: Any, **attrs: Any) -> bytes:
        """Return the line that connects two objects."""
        return self.draw_edge(a, b, **attrs)

    def _enc(self, s: str) -> bytes:
        return s.encode("utf-8", "ignore")

    def FMT(self, fmt: str, *args: Any, **kwargs: Any) -> bytes:
        """Fill in a line."""
        return self._enc(fmt.format(*args, **dict(kwargs, IN=self.IN, INp=self.INp)))

    def draw_edge(self, a: Any, b: Any, scheme: Any = None, attrs: Any = None) -> bytes:
        """Return the line that connects two objects, with more attributes."""
        shown = self.attrs(attrs, self.edge_scheme)
        return self.FMT(self._edge, self.label(a), self.label(b), dir=self.direction, attrs=shown)

    def draw_node(self, obj: Any, scheme: Any = None, attrs: Any = None) -> bytes:
        """Return the line of an object, with more attributes."""
        return self.FMT(self._node, self.label(obj), attrs=self.attrs(attrs, scheme))
