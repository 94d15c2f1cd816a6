"""Starts and stops the components that an application has added to its workers, and asks for their health."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from inspect import isawaitable
from typing import Any, Final

from taskq_cloud.core.model.hooks import RunningWorker
from taskq_cloud.errors import ComponentError
from taskq_cloud.runtime.components import Component, in_order, name_of

logger = logging.getLogger("taskq_cloud.worker")

STOP_SECONDS: Final = 3.0
"""How long all components together may take to stop."""


class Components:
    """The components of one worker.

    Args:
        components: the application's, in any order.

    Raises:
        ImproperlyConfigured: their requirements can't be met.
    """

    def __init__(self, components: Iterable[Component]) -> None:
        self._components = in_order(components)
        self._started: list[Component] = []

    def __bool__(self) -> bool:
        return bool(self._components)

    async def start(self, worker: RunningWorker) -> None:
        """Start the components, each after those it requires.

        Raises:
            ComponentError: a component could not start; ``stop`` stops the others.
        """
        for component in self._components:
            name = name_of(component)
            try:
                given = component.start(worker)
                if isawaitable(given):
                    await given
            except (Exception, SystemExit) as error:
                text = f"component {name!r} could not start, so the worker ends: {type(error).__name__}: {error}"
                raise ComponentError(text) from error
            self._started.append(component)
            logger.debug("component %s has started", name, extra={"action": "component.started", "component": name})

    async def stop(self, worker: RunningWorker) -> None:
        """Stop the components that have started, each before those it requires, within ``STOP_SECONDS``."""
        started, self._started = self._started[::-1], []
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + STOP_SECONDS
        for left, component in zip(range(len(started), 0, -1), started, strict=True):
            # What one of them doesn't need is shared by the others. One that hangs keeps none from being stopped.
            await _stop(component, worker, (ends_at - loop.time()) / left)

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Return whether all components are healthy, and what is wrong with each of them."""
        errors = {name_of(component): _health(component) for component in self._components}
        rows = {name: {"healthy": error is None, "error": error} for name, error in errors.items()}
        return all(error is None for error in errors.values()), rows


async def _stop(component: Component, worker: RunningWorker, seconds: float) -> None:
    name = name_of(component)
    try:
        async with asyncio.timeout(seconds):
            given = component.stop(worker)
            if isawaitable(given):
                await given
    except (Exception, SystemExit):
        extra = {"action": "component.stop_failed", "component": name}
        logger.exception("component %s has not stopped in order; it had %.1f s", name, seconds, extra=extra)


def _health(component: Component) -> str | None:
    try:
        return component.health()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
