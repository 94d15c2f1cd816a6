"""The command line of ``celery``, over the worker, the ticker and the commands of taskq_cloud."""
