"""Components: services that an application adds to its workers, and the order in which they start and stop.

``app.add_component`` adds one, and ``worker/components.py`` starts and stops them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TypeAlias

from taskq_cloud.core.model.hooks import MaybeAwaitable, RunningWorker
from taskq_cloud.errors import ImproperlyConfigured


class Component:
    """A service of a worker, such as a metrics server or a connection that all tasks share: see docs/workers.md.

    A subclass has the methods that it needs. They are called on the worker's event loop, before the first message is
    received and after the last one is settled. ``start`` and ``stop`` may be coroutine functions.

    Attributes:
        name: the component's name, by which others require it; "": the name of its class.
        requires: the components that must run while this one does, by name or by class.
    """

    name: str = ""
    requires: Sequence[str | type[Component]] = ()

    def __repr__(self) -> str:
        return f"<component {name_of(self)}>"

    def start(self, worker: RunningWorker) -> MaybeAwaitable:
        """Start the component. An error ends the worker before it receives a message."""

    def stop(self, worker: RunningWorker) -> MaybeAwaitable:
        """Stop the component. It is called once ``start`` has succeeded."""

    def health(self) -> str | None:
        """Tell what is wrong, for ``/healthz``; None: the component is healthy. It must return at once."""
        return None


Requirement: TypeAlias = "str | type[Component]"


def name_of(component: Requirement | Component) -> str:
    """The name of a component, of a class of components, or of a requirement."""
    if isinstance(component, str):
        return component
    kind = component if isinstance(component, type) else type(component)
    return component.name or kind.__name__


def checked(component: Component) -> Component:
    """Return a component.

    Raises:
        ImproperlyConfigured: it is not an instance of ``Component``.
    """
    if isinstance(component, Component):
        return component
    hint = "; make an object of the class" if isinstance(component, type) else ""
    raise ImproperlyConfigured(f"a component is an object of a subclass of Component, not {component!r:.100}{hint}")


def in_order(components: Iterable[Component]) -> list[Component]:
    """Sort components so that each comes after those it requires; otherwise they keep their order.

    Raises:
        ImproperlyConfigured: two have one name, one requires a component that there is not, or they require each other
            in a circle.
    """
    named: dict[str, Component] = {}
    for each in components:
        name = name_of(each)
        if name in named:
            raise ImproperlyConfigured(f"two components are named {name!r}: give one of them another name")
        named[name] = each
    graph = {name: [name_of(required) for required in each.requires] for name, each in named.items()}
    for name, required in graph.items():
        missing = [each for each in required if each not in named]
        if missing:
            raise ImproperlyConfigured(
                f"component {name!r} requires {missing[0]!r}, which is not among the components of the application "
                f"({', '.join(map(repr, named))}): add it by add_component()"
            )
    try:
        return [named[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        circle = " -> ".join(map(repr, reversed(error.args[1])))
        raise ImproperlyConfigured(f"components require each other in a circle: {circle}") from None
