"""Functions of taskq_cloud: one calls a task, one runs the tasks of a batch and stores their results."""

from typing import Any

from work import QUEUE, TABLE, counted

from taskq_cloud import TaskQ


def producer() -> Any:
    app = TaskQ("bench", broker="sqs:///", results="disabled://", task_default_queue=QUEUE)
    app.open()

    def send(event: Any, context: Any) -> str:
        return app.send_task("bench.noop", [1]).id

    return counted(send)


def consumer() -> Any:
    app = TaskQ("bench", broker="sqs:///", results=f"dynamodb://{TABLE}", task_default_queue=QUEUE)

    @app.task(name="bench.noop")
    def noop(number: int) -> int:
        return number

    return counted(app.lambda_handler())
