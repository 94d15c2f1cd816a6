"""Steps: parts that a project adds to a worker, and that start and stop with it in the order of their requirements.

A worker has a ``Blueprint`` of steps; the last one runs the native worker, until it is told to stop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from threading import Event
from typing import Any, ClassVar, Final

from taskq_cloud.celery._steps import ConsumerStep, StartStopStep, Step, StepType, last_part
from taskq_cloud.celery.utils.graph import DependencyGraph, GraphFormatter
from taskq_cloud.celery.utils.imports import qualname, symbol_by_name
from taskq_cloud.celery.utils.log import get_logger

__all__ = ("Blueprint", "ConsumerStep", "StartStopStep", "Step", "StepType")

RUN: Final = 0x1
CLOSE: Final = 0x2
TERMINATE: Final = 0x3
"""The states of a blueprint; None: it has not been started."""

logger = get_logger(__name__)


def _named(step: Any) -> Any:
    """Return a step by its path. A path in Celery means the step of this package that has its name."""
    if isinstance(step, str) and step.startswith("celery."):
        step = f"taskq_cloud.{step}"
    return symbol_by_name(step)


class StepFormatter(GraphFormatter):
    """Draws the graph of a blueprint."""

    blueprint_prefix = "⧉"
    conditional_prefix = "∘"
    blueprint_scheme: ClassVar = {"shape": "parallelogram", "color": "slategray4", "fillcolor": "slategray3"}

    def label(self, step: Any) -> Any:
        """Return the text that stands for a step."""
        return step and f"{self._get_prefix(step)}{step.label or last_part(step.name)}"

    def _get_prefix(self, step: Any) -> str:
        if step.last:
            return self.blueprint_prefix
        return self.conditional_prefix if step.conditional else ""

    def node(self, obj: Any, **attrs: Any) -> Any:
        """Return the line of a step."""
        return self.draw_node(obj, self.blueprint_scheme if obj.last else self.node_scheme, attrs)

    def edge(self, a: Any, b: Any, **attrs: Any) -> Any:
        """Return the line that connects two steps."""
        if a.last:
            attrs.update(arrowhead="none", color="darkseagreen3")
        return self.draw_edge(a, b, self.edge_scheme, attrs)


class Blueprint:
    """Steps that are made for an object, its parent, and started and stopped together.

    Args:
        steps: the steps, as classes or their paths, beside ``default_steps``.
        name: the blueprint's name in the log.
        on_start: is called before the steps are started.
        on_close: is called before the steps are closed.
        on_stopped: is called after the steps were stopped.
    """

    GraphFormatter: Any = StepFormatter

    name: Any = None
    state: Any = None
    started = 0
    default_steps: ClassVar[Any] = set()
    state_to_name: ClassVar[dict[int, str]] = {
        0: "initializing",
        RUN: "running",
        CLOSE: "closing",
        TERMINATE: "terminating",
    }

    def __init__(
        self,
        steps: Iterable[Any] | None = None,
        name: str | None = None,
        on_start: Callable[[], Any] | None = None,
        on_close: Callable[[], Any] | None = None,
        on_stopped: Callable[[], Any] | None = None,
    ) -> None:
        self.name = name or self.name or qualname(type(self))
        self.types = {*(steps or ()), *self.default_steps}
        self.on_start, self.on_close, self.on_stopped = on_start, on_close, on_stopped
        self.shutdown_complete = Event()
        self.steps: dict[str, Any] = {}
        self.order: list[Any] = []

    def __getitem__(self, name: str) -> Any:
        return self.steps[name]

    @property
    def alias(self) -> str:
        """The short name."""
        return last_part(self.name)

    def human_state(self) -> str:
        """Return the state as a word."""
        return self.state_to_name[self.state or 0]

    def info(self, parent: Any) -> dict[str, Any]:
        """Return facts about all steps."""
        return {name: value for step in parent.steps for name, value in (step.info(parent) or {}).items()}

    # -- making the steps

    def apply(self, parent: Any, **kwargs: Any) -> Any:
        """Make each step for the parent, in order, and put the steps that start and stop into ``parent.steps``.

        Args:
            parent: the worker, or another object with a list ``steps``.
            kwargs: arguments of every step.
        """
        self._debug("Preparing bootsteps.")
        self.order, self.steps = [], self.claim_steps()
        self._debug("Building graph...")
        for kind in self._finalize_steps(self.steps):
            step = kind(parent, **kwargs)
            self.steps[step.name] = step
            self.order.append(step)
        self._debug("New boot order: {%s}", ", ".join(step.alias for step in self.order))
        for step in self.order:
            step.include(parent)
        return self

    def claim_steps(self) -> dict[str, Any]:
        """Return the classes of the steps by name."""
        return dict(map(self.load_step, self.types))

    def load_step(self, step: Any) -> tuple[str, Any]:
        """Return the name of a step, and its class."""
        kind = _named(step)
        return kind.name, kind

    def connect_with(self, other: Any) -> None:
        """Join the graph of another blueprint to the graph of this one."""
        self.graph.adjacent.update(other.graph.adjacent)
        self.graph.add_edge(type(other.order[0]), type(self.order[-1]))

    def _find_last(self) -> Any:
        return next((kind for kind in self.steps.values() if kind.last), None)

    def _firstpass(self, steps: dict[str, Any]) -> None:
        """Add the steps that the others require."""
        for step in steps.values():
            step.requires = [_named(each) for each in step.requires]
        stream = deque(step.requires for step in steps.values())
        while stream:
            for required in stream.popleft():
                kind = _named(required)
                if kind.name not in self.steps:
                    steps[kind.name] = kind
                stream.append(kind.requires)

    def _finalize_steps(self, steps: dict[str, Any]) -> Any:
        """Return the classes of the steps in order."""
        last = self._find_last()
        self._firstpass(steps)
        pairs = [(kind, [_named(each) for each in kind.requires]) for kind in steps.values()]
        graph = self.graph = DependencyGraph(pairs, formatter=self.GraphFormatter(root=last))
        for kind in list(graph) if last else ():
            if kind != last:
                graph.add_edge(last, kind)
        try:
            return graph.topsort()
        except KeyError as error:
            raise KeyError(f"unknown bootstep: {error}") from error

    # -- starting and stopping

    def start(self, parent: Any) -> None:
        """Start the parent's steps, in order."""
        self.state = RUN
        if self.on_start:
            self.on_start()
        for number, step in enumerate([step for step in parent.steps if step is not None], start=1):
            self._debug("Starting %s", step.alias)
            self.started = number
            step.start(parent)
            logger.debug("^-- substep ok")

    def close(self, parent: Any) -> None:
        """Tell the steps that the parent is about to stop."""
        if self.on_close:
            self.on_close()
        self.send_all(parent, "close", "closing", reverse=False)

    def restart(
        self, parent: Any, method: str = "stop", description: str = "restarting", propagate: bool = False
    ) -> None:
        """Stop the steps, so that they can be started again."""
        self.send_all(parent, method, description, propagate=propagate)

    def stop(self, parent: Any, close: bool = True, terminate: bool = False) -> None:
        """Stop the steps in the reverse order.

        Args:
            parent: the object that the steps were made for.
            close: has no effect, as in Celery.
            terminate: call ``terminate`` of each step and not ``stop``.
        """
        if self.state in (CLOSE, TERMINATE):
            return
        if self.state == RUN and self.started == len(parent.steps):
            self.close(parent)
            self.state = CLOSE
            method, description = ("terminate", "terminating") if terminate else ("stop", "stopping")
            self.restart(parent, method, description=description, propagate=False)
            if self.on_stopped:
                self.on_stopped()
        self.state = TERMINATE
        self.shutdown_complete.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the steps were stopped."""
        self.shutdown_complete.wait(timeout=timeout)

    def send_all(
        self,
        parent: Any,
        method: str,
        description: str | None = None,
        reverse: bool = True,
        propagate: bool = True,
        args: Sequence[Any] = (),
    ) -> None:
        """Call a method of each step that has it.

        Args:
            parent: the first argument of the method.
            method: its name.
            description: what it does, for the log.
            reverse: call the last step's method first.
            propagate: raise an error of a step; otherwise it is logged.
            args: further arguments.
        """
        description = description or method.replace("_", " ")
        for step in reversed(parent.steps) if reverse else parent.steps:
            call = getattr(step, method, None) if step else None
            if call is None:
                continue
            self._debug("%s %s...", description.capitalize(), step.alias)
            try:
                call(parent, *args)
            except Exception as error:
                if propagate:
                    raise
                logger.exception("Error on %s %s: %r", description, step.alias, error)  # noqa: TRY401 - Celery's text

    def _debug(self, msg: str, *args: Any) -> None:
        logger.debug("| %s: %s", self.alias, msg % args)
