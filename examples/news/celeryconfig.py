"""The settings, by Celery's names. BROKER_URL and RESULT_BACKEND name the services of a deployment."""

import os

from taskq_cloud.celery.schedules import crontab

broker_url = os.environ.get("BROKER_URL", "sqlite:///.taskq/broker.db")
result_backend = os.environ.get("RESULT_BACKEND", "sqlite:///.taskq/results.db")

task_default_queue = "news"
task_routes = {"news.tasks.fetch": {"queue": "feeds"}}
task_soft_time_limit = 20
task_time_limit = 30
timezone = "Europe/Berlin"

beat_schedule = {
    "morning-digest": {
        "task": "news.tasks.digest_of",
        "schedule": crontab(hour=7, minute=0),
        "args": (["world", "science"],),
    },
}
