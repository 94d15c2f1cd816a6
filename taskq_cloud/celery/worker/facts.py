"""What a worker says about itself: ``worker.stats()``."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from taskq_cloud.celery.worker import state


class Facts:
    """The part of a worker that says how it is."""

    app: Any
    blueprint: Any
    consumer: Any
    startup_time: datetime

    @property
    def state(self) -> Any:
        """The module with the global state."""
        return state

    def info(self) -> dict[str, Any]:
        """Return facts about the worker."""
        uptime = datetime.now(UTC) - self.startup_time
        return {
            "total": self.state.total_count,
            "pid": os.getpid(),
            "clock": str(getattr(self.app, "clock", 0)),
            "uptime": round(uptime.total_seconds()),
        }

    def rusage(self) -> dict[str, Any]:
        """Return what the process has used of the machine.

        Raises:
            NotImplementedError: the system doesn't say.
        """
        try:
            import resource  # Windows has none
        except ImportError:
            raise NotImplementedError("rusage not supported by this platform") from None
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {name.removeprefix("ru_"): getattr(used, name) for name in dir(used) if name.startswith("ru_")}

    def stats(self) -> dict[str, Any]:
        """Return facts about the worker, its steps and its process."""
        facts = {**self.info(), **self.blueprint.info(self), **self.consumer.blueprint.info(self.consumer)}
        try:
            facts["rusage"] = self.rusage()
        except NotImplementedError:
            facts["rusage"] = "N/A"
        return facts
