"""The names of billiard, Celery's package for processes, that integrations import: see ``taskq_cloud.celery.alias``."""

from __future__ import annotations

from typing import Final

VERSION: Final = (4, 0, 0)
"""The version before the one that wraps exceptions in ``ExceptionWithTraceback``."""
