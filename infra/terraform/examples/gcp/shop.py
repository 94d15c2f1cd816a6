"""An application on Google Cloud: Pub/Sub, containers, and results in Cloud Storage."""

from taskq_cloud import TaskQ

app = TaskQ(
    "shop",
    broker="pubsub://shop-prod/shop-",
    results="gs://shop-prod-results",
    task_default_queue="orders",
)


@app.task(time_limit=30)
def charge(order: int) -> str:
    return f"order {order} is paid"
