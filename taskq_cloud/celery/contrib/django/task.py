"""Tasks that are called once the database transaction of their caller is committed."""

from __future__ import annotations

import functools
from typing import Any

from taskq_cloud.celery.app.task import Task


class DjangoTask(Task):
    """A task in a Django project: it can be called after the commit, so that it finds what its caller has written."""

    abstract = True

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """Call the task with these arguments once the transaction is committed; there is no result to return."""
        from django.db import transaction  # needs Django's settings

        transaction.on_commit(functools.partial(self.delay, *args, **kwargs))

    def apply_async_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """Call the task with options once the transaction is committed; there is no result to return."""
        from django.db import transaction  # needs Django's settings

        transaction.on_commit(functools.partial(self.apply_async, *args, **kwargs))
