"""The programs behind Celery's commands."""
