"""An application whose code is the same in every environment: the files *.env give names, accounts and sizes."""

from taskq_cloud import TaskQ

app = TaskQ("shop", task_default_queue="orders", task_routes={"shop.build_*": "reports"})


@app.task(time_limit=30)
def charge(order: int) -> str:
    return f"order {order} is paid"


@app.task(time_limit=3600, memory_mb=2048)
def build_report(month: str) -> str:
    return f"the report of {month}"


@app.task(time_limit=60, cron="0 3 * * *", timezone="Europe/Paris")
def tidy() -> str:
    return "tidied"
