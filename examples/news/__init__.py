"""A project that is written for Celery: feeds are fetched, and their headlines become one digest."""

from news.celery import app as app

__all__ = ("app",)
