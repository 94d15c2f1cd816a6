"""Identifiers of tasks."""

from collections.abc import Callable
from uuid import UUID, uuid4

__all__ = ("uuid",)


def uuid(_uuid: Callable[[], UUID] = uuid4) -> str:
    """Return a new identifier, a random UUID."""
    return str(_uuid())
