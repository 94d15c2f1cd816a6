"""The smallest application that can be deployed: one task, which a Lambda function runs."""

from taskq_cloud import TaskQ

app = TaskQ(
    "shop",
    broker="sqs://eu-west-1/shop-",
    results="dynamodb://shop-results",
    task_default_queue="orders",
)


@app.task(time_limit=30)
def charge(order: int) -> str:
    return f"order {order} is paid"
