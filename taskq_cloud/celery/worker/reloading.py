"""``worker.reload()``: import or reload the modules with tasks while a worker runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from taskq_cloud.celery.utils.imports import reload_from_cwd
from taskq_cloud.celery.utils.log import get_logger

logger = get_logger("celery.worker")


class Reloading:
    """The part of a worker that imports modules anew."""

    app: Any
    consumer: Any
    pool: Any

    def reload(
        self,
        modules: Iterable[str] | None = None,
        reload: bool = False,
        reloader: Callable[..., Any] | None = None,
    ) -> None:
        """Import the modules that aren't imported yet, and start the pool anew if it can.

        Tasks that were declared since the worker has started run without this call, too.

        Args:
            modules: the names of the modules; None: those that the application imports.
            reload: whether modules that are imported are reloaded.
            reloader: reloads a module; None: ``importlib.reload``.
        """
        list(self._reload_modules(modules, force_reload=reload, reloader=reloader))
        if self.consumer:
            self.consumer.update_strategies()
            self.consumer.reset_rate_limits()
        try:
            self.pool.restart()
        except NotImplementedError:
            logger.debug("the pool is not started anew: its processes keep the modules that they have imported")

    def _reload_modules(self, modules: Iterable[str] | None = None, **kwargs: Any) -> Iterable[Any]:
        names = self.app.loader.task_modules if modules is None else modules
        return (self._maybe_reload_module(name, **kwargs) for name in set(names or ()))

    def _maybe_reload_module(
        self, module: str, force_reload: bool = False, reloader: Callable[..., Any] | None = None
    ) -> Any:
        if module not in sys.modules:
            logger.debug("importing module %s", module)
            return self.app.loader.import_from_cwd(module)
        if not force_reload:
            return None
        logger.debug("reloading module %s", module)
        return reload_from_cwd(sys.modules[module], reloader)
