"""The no-op task on huey, on SQLite."""

import os

from huey import SqliteHuey
from work import done, produce

huey = SqliteHuey(filename=os.environ["BENCH_FILE"], results=os.environ.get("BENCH_RESULTS") is not None)


@huey.task()
def noop(number: int) -> int:
    return done(number)


if __name__ == "__main__":
    from huey_app import noop as task  # a task has the name of its module, which the worker has to know

    produce(
        task, trip=lambda number: task(number).get(blocking=True, timeout=60, backoff=1, max_delay=0.005, preserve=True)
    )
