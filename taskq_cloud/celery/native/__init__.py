"""The bridge between Celery's interface and the native application that does the work."""
