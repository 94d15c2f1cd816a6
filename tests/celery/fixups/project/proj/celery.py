"""The application: its settings are those of Django that begin with ``CELERY_``. ``LIBRARY`` names the library."""

import os
from importlib import import_module
from typing import Any

Celery = import_module(os.environ["LIBRARY"]).Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")

app: Any = Celery("proj")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.task(bind=True, ignore_result=True)
def debug_task(self):
    return f"Request: {self.request.id}"
