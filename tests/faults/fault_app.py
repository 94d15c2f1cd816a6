"""The application of the fault tests. Every run of a task writes one line to a file, so that runs can be counted."""

import os
import time

from taskq_cloud import TaskQ

app = TaskQ("faults")


def note(line: str) -> None:
    """Append a line in one write."""
    file = os.open(os.environ["FAULT_RUNS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


@app.task
def square(number: int) -> int:
    note(str(number))
    return number * number


@app.task
def slow_square(number: int, seconds: float) -> int:
    note(str(number))
    time.sleep(seconds)
    return number * number


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)
