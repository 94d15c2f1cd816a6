"""A result backend for Celery applications that migrate to taskq. This package is the only one that imports Celery."""
