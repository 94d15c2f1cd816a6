"""The code of the functions that the tests create. It is all that a user's Lambda function needs."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from taskq_cloud import TaskQ
from taskq_cloud.errors import Reject

app = TaskQ("shop")  # TASKQ_BROKER and TASKQ_RESULTS are in the function's environment


@app.task(name="add")
def add(a: int, b: int) -> int:
    return a + b


@app.task(name="aadd")
async def aadd(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


@app.task(name="fail")
def fail(text: str) -> None:
    raise ValueError(text)


@app.task(name="second_attempt", bind=True)
def second_attempt(self: Any) -> int:
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    return int(self.request.retries)


@app.task(name="second_receive", bind=True)
def second_receive(self: Any) -> int:
    if not self.request.delivery_info["redelivered"]:
        raise Reject("not yet", requeue=True)
    return int(self.request.delivery_info["receive_count"])


@app.task(name="endless", time_limit=1)
def endless() -> None:
    while True:
        pass


@app.task(name="poison")
def poison(how: str) -> None:
    if how == "exits":
        os._exit(3)
    if how == "runs out of memory":
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})  # like C code that never returns to the interpreter
    while True:
        time.sleep(60)


kept: list[bytes] = []


@app.task(name="leak")
def leak(mib: int, behind: str) -> int:
    kept.append(b"x" * (mib << 20))
    if behind == "thread":
        threading.Thread(target=threading.Event().wait, name="left behind").start()
    elif behind == "exit handler":
        atexit.register(threading.Event().wait)
    return len(kept)


if "SHOP_EXIT_FILE" in os.environ:
    atexit.register(Path(os.environ["SHOP_EXIT_FILE"]).touch)


@app.task(name="process_id")
def process_id() -> int:
    return os.getpid()


@app.task(name="places")
def places(before: Sequence[Any] = ()) -> list[Any]:
    return [*before, "function" if "AWS_LAMBDA_FUNCTION_NAME" in os.environ else "container"]


handler = app.lambda_handler()
