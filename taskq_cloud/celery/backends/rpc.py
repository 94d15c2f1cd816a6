"""The backend for ``rpc://``: results in reply queues of RabbitMQ."""

from taskq_cloud.celery.backends.store import StoreBackend

__all__ = ("RPCBackend",)


class RPCBackend(StoreBackend):
    """Results in reply queues of RabbitMQ."""
