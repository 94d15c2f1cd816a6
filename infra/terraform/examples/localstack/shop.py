"""An application that is deployed to a local AWS stack and runs there."""

from taskq_cloud import TaskQ

app = TaskQ(
    "shop",
    broker="sqs://eu-west-1/shop-",
    results="dynamodb://shop-results",
    task_default_queue="orders",
    scheduler="eventbridge://shop"
    "?role=arn:aws:iam::000000000000:role/shop-scheduler"
    "&dead_letter=arn:aws:sqs:eu-west-1:000000000000:shop-schedules-dead",
    deployment={"schedules": "terraform"},
)


@app.task(time_limit=20)
def charge(order: int) -> str:
    return f"order {order} is paid"


@app.task(time_limit=20, every="1m")
def count() -> str:
    return "all orders are counted"
