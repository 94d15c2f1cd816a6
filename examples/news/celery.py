"""The application. Only the first import differs from a project that runs on Celery."""

from taskq_cloud.celery import Celery

app = Celery("news", include=["news.tasks"])
app.config_from_object("news.celeryconfig")
