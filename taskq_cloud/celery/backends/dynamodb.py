"""The backend for ``dynamodb://``: results in a table of Amazon DynamoDB."""

from taskq_cloud.celery.backends.store import StoreBackend

__all__ = ("DynamoDBBackend",)


class DynamoDBBackend(StoreBackend):
    """Results in a table of Amazon DynamoDB."""
