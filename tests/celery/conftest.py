"""What all tests beside Celery share: each leaves the logging of its process as it has found it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

PACKAGES = ("celery", "taskq_cloud", "kombu", "multiprocessing", "billiard")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Put back the handlers and levels of loggers, which both packages set up for a whole process."""
    loggers = [logging.getLogger(), *_loggers()]
    before = [(each, each.level, each.propagate, each.disabled, list(each.handlers)) for each in loggers]
    yield
    for each, level, propagate, disabled, handlers in before:
        each.setLevel(level)
        each.propagate, each.disabled, each.handlers[:] = propagate, disabled, handlers
    for each in _loggers():
        if each not in loggers:
            each.setLevel(logging.NOTSET)
            each.propagate, each.disabled, each.handlers[:] = True, False, []


def _loggers() -> list[logging.Logger]:
    known = logging.root.manager.loggerDict.items()
    return [each for name, each in known if isinstance(each, logging.Logger) and name.split(".")[0] in PACKAGES]
