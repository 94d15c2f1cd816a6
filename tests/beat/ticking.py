"""An application whose only periodic task is due every second, and a ticker process for it, with a short lease.

Run it with ``python -m tests.beat.ticking``. The environment variable TICKING_FOLDER names the folder of its queue and
results.
"""

import asyncio
import os

from taskq_cloud import TaskQ
from taskq_cloud.beat.run import make_ticker, tick_until_signal
from taskq_cloud.bootstrap.logs import logging_to_stderr

LEASE_SECONDS = 3

folder = os.environ["TICKING_FOLDER"]
app = TaskQ("ticking", broker=f"sqlite:///{folder}/queue.db", results=f"sqlite:///{folder}/results.db")


@app.task(name="tick", every="1s", catch_up="all", ignore_result=True)
def tick() -> None: ...


if __name__ == "__main__":
    with logging_to_stderr("info", "json"):
        ticker = make_ticker(app, app.schedule_entries(), lease_seconds=LEASE_SECONDS)
        asyncio.run(tick_until_signal(ticker, app.arun, app.aclose))
