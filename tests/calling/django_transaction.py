"""The program of a process that calls tasks in Django's transactions: ``python django_transaction.py URL QUEUE``."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

import django
from django.conf import settings


class _RolledBack(Exception):
    """Ends a transaction without a commit."""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def main() -> None:
    url, queue = sys.argv[1:]
    parts = urlsplit(url)
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path[1:],
        "USER": parts.username,
        "HOST": parts.hostname,
        "PORT": parts.port,
    }
    settings.configure(DATABASES={"default": database})
    django.setup()
    from django.db import connection, transaction

    from taskq_cloud import TaskQ, group
    from taskq_cloud.errors import OperationalError

    app = TaskQ("shop", broker=f"{url}?schema=shop", results="memory://", task_default_queue=queue)

    @app.task
    def add(left: int, right: int) -> int:
        return left + right

    def total() -> int:
        depth = app.run(app.broker.depth(queue))
        assert depth is not None
        return depth.total

    def call(taken: object) -> None:
        with transaction.atomic(), app.transaction(taken):
            add.delay(1, 2)
            if taken == "default":
                group(add.s(number, 1) for number in range(2)).delay()
                return
            raise _RolledBack

    try:
        call(connection)
    except _RolledBack:
        say(f"rolled back: {total()}")
    call("default")
    with transaction.atomic(), app.transaction(connection):
        add.delay(1, 2)
    say(f"committed: {total()}")
    try:
        with app.transaction(connection):
            pass
    except OperationalError as error:
        say("refused outside of atomic" if "transaction.atomic()" in str(error) else str(error))
    app.close()


main()
