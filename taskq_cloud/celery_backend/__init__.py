"""A result backend for Celery applications that move over. Celery is imported here and nowhere else."""
