"""An application on Google Cloud: Pub/Sub, containers, a periodic task, and results in Cloud Storage."""

from taskq_cloud import TaskQ

app = TaskQ(
    "shop",
    broker="pubsub://shop-prod/shop-",
    results="gs://shop-prod-results",
    scheduler="cloudscheduler://shop-prod/europe-west1",
    task_default_queue="orders",
    deployment={"schedules": "terraform"},
)


@app.task(time_limit=30)
def charge(order: int) -> str:
    return f"order {order} is paid"


@app.task(time_limit=60, cron="0 3 * * *", timezone="Europe/Paris")
def tidy() -> str:
    return "tidied"
