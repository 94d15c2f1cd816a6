"""The application that is deployed to a local stack and run there."""

from taskq_cloud import TaskQ

app = TaskQ(
    "shop",
    broker="sqs://eu-west-1/shop-",
    results="dynamodb://shop-results",
    task_default_queue="orders",
)


@app.task(time_limit=20)
def charge(order: int) -> str:
    return f"order {order} is paid"
