"""A small shop: the application, and the queues that its tasks are routed to.

A Lambda function (``shop.handler``) serves the queue ``images``, and a container worker (``taskq worker -A shop -Q
orders``) serves the queue ``orders``. The tasks themselves don't depend on this: only the queue decides what runs them.

The environment says where the queues and the results are:

    TASKQ_BROKER=sqs://eu-west-1/shop-        the SQS queues shop-orders and shop-images
    TASKQ_RESULTS=dynamodb://shop-results     the DynamoDB table of the results

Without these variables, the shop runs on one machine, on SQLite.
"""

from taskq_cloud import TaskQ

app = TaskQ(
    "shop",
    imports=("shop.images", "shop.orders"),
    task_default_queue="orders",
    task_routes={"shop.images.*": "images"},
    # Results also hold the name of the worker and the number of retries; the demo's report shows them.
    result_extended=True,
)
