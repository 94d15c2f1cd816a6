"""Exceptions of the tasks: they are no part of Celery, and the same for both packages."""

from __future__ import annotations


class OutOfStock(Exception):
    """An article is not in stock."""

    def __init__(self, article: str, left: int) -> None:
        super().__init__(article, left)
        self.article, self.left = article, left


class Busy(Exception):
    """Something is not there yet."""
