"""An application with functions, for a FIFO queue and two levels of priority, and with containers for long tasks."""

from taskq_cloud import TaskQ

app = TaskQ(
    "shop",
    broker="sqs://eu-west-1/shop-",
    results="dynamodb://shop-results",
    payloads="s3://shop-payloads-123456789012/arguments",
    task_default_queue="orders",
    task_routes={"shop.build_*": "reports", "shop.notify": "mail.fifo"},
    queue_max_priorities={"orders": 1},
    scheduler="eventbridge://shop"
    "?role=arn:aws:iam::123456789012:role/shop-scheduler"
    "&dead_letter=arn:aws:sqs:eu-west-1:123456789012:shop-schedules-dead",
    timezone="Europe/Paris",
    beat_schedule={
        "nightly": {"task": "shop.build_report", "schedule": "0 3 * * *", "args": ["today"]},
        "digest": {"task": "shop.notify", "schedule": "1h", "args": [1, "digest"], "options": {"MessageGroupId": "1"}},
    },
    deployment={
        "functions": {
            "orders": {"memory_mb": 1024, "maximum_concurrency": 50},
            "orders-p1": {"maximum_concurrency": 20},
        },
        "services": {"worker": {"queues": ["reports"], "maximum_tasks": 8}},
        "schedules": "terraform",
    },
)


@app.task(time_limit=30)
def charge(order: int) -> str:
    return f"order {order} is paid"


@app.task(time_limit=10)
def notify(customer: int, text: str) -> None:
    print(customer, text)


@app.task(time_limit=3600, memory_mb=4096)
def build_report(month: str) -> str:
    return f"s3://shop-reports/{month}.pdf"
