"""A Django project as in Celery's guide: the application is imported with it, so that ``shared_task`` uses it."""

from .celery import app as celery_app

__all__ = ("celery_app",)
