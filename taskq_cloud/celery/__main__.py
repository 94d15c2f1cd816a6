"""``python -m taskq_cloud.celery``: Celery's command line."""

from taskq_cloud.celery.bin.celery import main
from taskq_cloud.runtime import signals

if __name__ == "__main__":
    signals.own_process()
    main()
