"""A small shop: its application, and which queue its tasks go to.

Photos are worked on by a Lambda function (``shop.handler``), everything else by a container worker
(``taskq worker -A shop -Q orders``). A task does not know which: that is a matter of the queue it is routed to.

Where the queues and the results are comes from the environment:

    TASKQ_BROKER=sqs://eu-west-1/shop-        the queues shop-orders and shop-images
    TASKQ_RESULTS=dynamodb://shop-results     the table of the results

Without these it runs on one machine, on SQLite, with no other change.
"""

from taskq_cloud import TaskQ

app = TaskQ(
    "shop",
    imports=("shop.images", "shop.orders"),
    task_default_queue="orders",
    task_routes={"shop.images.*": "images"},
    # Results say where a task ran and how often, not only what it came to.
    result_extended=True,
)
