"""Forgetting and revoking a task, through the backend and ``app.control``."""

from __future__ import annotations

from typing import Any


class Ending:
    """A result that can be forgotten, and whose task can be revoked."""

    id: Any
    app: Any
    backend: Any
    parent: Any
    _cache: Any

    def forget(self) -> None:
        """Remove the result from the backend, and the results of everything before it in a chain."""
        self._cache = None
        if self.parent:
            self.parent.forget()
        self.backend.remove_pending_result(self)
        self.backend.forget(self.id)

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Revoke the task; arguments as for ``app.control.revoke``, where ``wait`` is called ``reply``."""
        return self.app.control.revoke(
            self.id, connection=connection, terminate=terminate, signal=signal, reply=wait, timeout=timeout
        )

    def revoke_by_stamped_headers(
        self,
        headers: Any,
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Revoke all tasks with certain stamps; arguments as for ``app.control.revoke_by_stamped_headers``."""
        return self.app.control.revoke_by_stamped_headers(
            headers, connection=connection, terminate=terminate, signal=signal, reply=wait, timeout=timeout
        )
