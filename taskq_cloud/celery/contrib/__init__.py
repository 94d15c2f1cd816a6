"""Additions to Celery's interface that an application imports when it uses them."""
