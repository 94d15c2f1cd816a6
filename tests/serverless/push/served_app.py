"""An application for web servers that run in a process of their own: ``tests.serverless.push.served_app:endpoint``."""

from __future__ import annotations

import os
import time
from pathlib import Path

from taskq_cloud import TaskQ
from tests.serverless.pushing import ACCOUNT, AUDIENCE

FOLDER = Path(os.environ["SERVED_FOLDER"])
app = TaskQ("served", broker="pubsub://test-project/shop-", results=f"sqlite:///{FOLDER}/results.db")


@app.task(name="wait")
def wait(number: int, gate: str) -> int:
    """Note the beginning, wait until the gate is open, and note the end."""
    with (FOLDER / "begun").open("a") as begun:
        begun.write(f"{number}\n")
    while not (FOLDER / gate).exists():
        time.sleep(0.01)
    with (FOLDER / "ended").open("a") as ended:
        ended.write(f"{number}\n")
    return number


endpoint = app.pubsub_push_handler(audience=AUDIENCE, service_account=ACCOUNT, keys_url=os.environ["SERVED_KEYS"])
