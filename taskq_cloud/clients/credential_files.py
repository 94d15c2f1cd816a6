"""Say that credentials can't be read, whatever exception an SDK raises over a malformed file or variable.

SDKs check some of what they read. The rest raises what Python raises: AttributeError for a JSON file that holds a list,
FileNotFoundError for a missing certificate, RecursionError for deeply nested JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from taskq_cloud.clients.base import MALFORMED
from taskq_cloud.errors import ImproperlyConfigured


@contextmanager
def reading_credentials(where: str, sources: str) -> Iterator[None]:
    """Turn an SDK's errors over malformed credentials into one that names the places to check.

    Args:
        where: the client, for the error.
        sources: the files and variables that the SDK reads.

    Raises:
        ImproperlyConfigured: the credentials, or other settings for the client, can't be read.
    """
    try:
        yield
    except MALFORMED as error:
        raise unreadable(where, f"{type(error).__name__}: {error}", sources) from error


def unreadable(where: str, reason: str, sources: str) -> ImproperlyConfigured:
    """The error for credentials that can't be read."""
    return ImproperlyConfigured(f"{where}: the credentials or settings can't be read ({reason}): check {sources}")


def google_reason(error: Exception) -> str:
    """The text of one of google-auth's errors, whose arguments may hold another error with a file's whole content."""
    return ": ".join(str(each) for each in error.args)
