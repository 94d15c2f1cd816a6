"""Packages that import Celery themselves, with what takes their place."""

from __future__ import annotations

from typing import Final

_ALIAS: Final = "taskq_cloud.celery.alias.install() before the package is imported"

THIRD_PARTIES: Final = {
    "celery_batches": "a worker of AWS Lambda gets batches; taskq_cloud runs one task for each message",
    "celery_exporter": "`taskq queues --json`, or the metrics of the cloud's queues",
    "celery_once": "a task that checks a lock of your own; periodic tasks have overlap='skip'",
    "celery_progress": "self.update_state of the task, and AsyncResult(id).info",
    "celery_singleton": "a task that checks a lock of your own; periodic tasks have overlap='skip'",
    "ddtrace.contrib.celery": _ALIAS,
    "django_celery_beat": "beat_schedule in the settings, or `taskq beat` with schedules of the platform",
    "django_celery_results": "result_backend='django-db' or 'django-cache' here; its models and admin pages stay",
    "django_structlog.celery": _ALIAS,
    "elasticapm.contrib.celery": _ALIAS,
    "flower": "`taskq queues`, `taskq result --tree` and the cloud's console",
    "opentelemetry.instrumentation.celery": _ALIAS,
    "pytest_celery": "taskq_cloud.celery.contrib.pytest, or taskq_cloud.testing",
    "redbeat": "`taskq beat`, whose schedules the platform keeps",
    "scout_apm.celery": _ALIAS,
    "sentry_sdk.integrations.celery": _ALIAS,
    "tenant_schemas_celery": "a base class of tasks that sets the schema in before_start",
}
"""Module -> what to use instead."""


def replacement_of(module: str) -> tuple[str, str] | None:
    """Return the package that a module belongs to, and what to use instead; None: it doesn't import Celery."""
    for name, instead in THIRD_PARTIES.items():
        if module == name or module.startswith(f"{name}."):
            return name, instead
    return None
