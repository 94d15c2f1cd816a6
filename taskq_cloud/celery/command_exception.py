"""The error of a command line with its exit code, apart from the other errors because it needs click."""

from __future__ import annotations

from click import ClickException

__all__ = ("CeleryCommandException",)


class CeleryCommandException(ClickException):
    """A command has failed.

    Args:
        message: what happened.
        exit_code: the exit code of the process.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message=message)
        self.exit_code = exit_code  # type: ignore[misc]  # each exception has its own
