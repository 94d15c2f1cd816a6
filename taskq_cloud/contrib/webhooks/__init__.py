"""Webhooks both ways: a task that calls a URL, and an HTTP endpoint that calls tasks.

``pip install 'taskq-cloud[webhooks]'`` installs the packages that both need. docs/webhooks.md shows how they are used.
"""

from taskq_cloud.contrib.webhooks.endpoint import TaskEndpoint
from taskq_cloud.contrib.webhooks.hosts import WebhookRefused
from taskq_cloud.contrib.webhooks.requests import WebhookAnswer, WebhookFailed
from taskq_cloud.contrib.webhooks.task import webhook_task

__all__ = ["TaskEndpoint", "WebhookAnswer", "WebhookFailed", "WebhookRefused", "webhook_task"]
