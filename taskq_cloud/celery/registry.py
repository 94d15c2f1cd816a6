"""The tasks of the current application, under the name that old code and integrations import."""

from __future__ import annotations

from typing import Any, Final

from taskq_cloud.celery._state import current_app
from taskq_cloud.celery.local import Proxy

tasks: Final[Any] = Proxy(lambda: current_app.tasks)
