"""The application of the rate limit tests, for workers and a function. Every run writes one line to a file."""

import json
import os
import signal
import time

from taskq_cloud import TaskQ

app = TaskQ("rates")


def note(kind: str, number: int) -> None:
    """Append a line with the process, the task and the time, in one write."""
    began = time.time()
    who = "function" if "AWS_LAMBDA_FUNCTION_NAME" in os.environ else str(os.getpid())
    file = os.open(os.environ["RATE_STARTS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(file, (json.dumps([kind, who, number, began]) + "\n").encode())
    finally:
        os.close(file)


@app.task(name="greet")
def greet(number: int) -> None:
    note("greet", number)


@app.task(name="limited", rate_limit=os.environ["RATE_LIMIT"])
def limited(number: int) -> None:
    note("limited", number)


if os.environ.get("RATE_DIES"):
    from taskq_cloud.core.execution.steps import rate_limit_slots

    def die(*_: object) -> None:
        """Die between taking a rate-limit slot and sending the message that carries it."""
        os.kill(os.getpid(), signal.SIGKILL)

    rate_limit_slots.SlotKeeper.put_back = die  # type: ignore[method-assign, assignment]

if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    handler = app.lambda_handler()
