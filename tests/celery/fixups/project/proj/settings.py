"""The settings of Django, with those of Celery among them."""

import os
import tempfile

DEBUG = False
SECRET_KEY = "for tests only"
USE_TZ = True
TIME_ZONE = "Europe/Berlin"
INSTALLED_APPS = ["shop.apps.ShopConfig", "reports"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.path.join(os.environ.get("FOLDER", tempfile.gettempdir()), "shop.sqlite3"),  # noqa: PTH118 - as in Django's template
    }
}

CELERY_BROKER_URL = os.environ.get("BROKER", "memory://")
CELERY_RESULT_BACKEND = os.environ.get("BACKEND", "cache+memory://")
CELERY_BROKER_TRANSPORT_OPTIONS = {"polling_interval": 0.01}
CELERY_TASK_DEFAULT_QUEUE = "shop"
CELERY_TASK_TIME_LIMIT = 300
CELERY_TIMEZONE = "Europe/Berlin"
CELERY_BEAT_SCHEDULE = {"nightly": {"task": "reports.tasks.report", "schedule": 3600.0}}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
