"""Undo what setting up Celery's logging changes in the process of a test."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_NAMES = (None, "celery", "celery.task", "celery.redirected", "multiprocessing")


@contextmanager
def loggers_as_before() -> Iterator[None]:
    """Restore loggers, environment variables and the standard streams after a block."""
    loggers = [logging.getLogger(name) for name in _NAMES]
    before = [(each, list(each.handlers), each.level, each.propagate) for each in loggers]
    environment, streams = dict(os.environ), (sys.stdout, sys.stderr)
    try:
        yield
    finally:
        for logger, handlers, level, propagate in before:
            for added in [handler for handler in logger.handlers if handler not in handlers]:
                added.close()
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
        logging.captureWarnings(capture=False)
        os.environ.clear()
        os.environ.update(environment)
        sys.stdout, sys.stderr = streams
