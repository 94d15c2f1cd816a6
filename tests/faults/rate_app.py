"""The application of the rate limits' tests, for workers and for a function: every start is a line in a file."""

import json
import os
import signal
import time

from taskq_cloud import TaskQ

app = TaskQ("rates")


def note(kind: str, number: int) -> None:
    """Append who has begun what and when, in one write."""
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
        """Between taking a slot and sending the message that holds it."""
        os.kill(os.getpid(), signal.SIGKILL)

    rate_limit_slots.Keeper.put_back = die  # type: ignore[method-assign, assignment]

if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    handler = app.lambda_handler()
