"""The entry point of an AWS Lambda function: set its handler to ``taskq_cloud.lambda_function.lambda_handler``.

The environment variable ``TASKQ_APP`` names the application that the function serves: ``shop.tasks:app``. The handler
answers batches of an SQS event source, direct invocations, schedules and other events: see ``serverless.aws_lambda``.
A function that has its own module with ``handler = app.lambda_handler()`` does not need this module.

If the application can't be imported, the function fails while it starts, with the traceback of the application. Its
messages come back after the queue's visibility timeout, and go to the dead-letter queue when their receives run out.

Lambda has set up logging before it imports this module. Log lines of the library and of tasks get the task's id.
``TASKQ_LOG_LEVEL`` (``info``, ``debug``) sets the library's log level.
"""

from __future__ import annotations

import os

from taskq_cloud.app import TaskQ
from taskq_cloud.bootstrap import logs
from taskq_cloud.bootstrap.loading import APP_VARIABLE, find_app
from taskq_cloud.errors import ImproperlyConfigured


def _app_path() -> str:
    path = os.environ.get(APP_VARIABLE)
    if not path:
        raise ImproperlyConfigured(
            f"the function's environment variable {APP_VARIABLE} is not set: set it to the application's path, such as "
            "shop.tasks:app"
        )
    return path


def _load(path: str) -> TaskQ:
    try:
        return find_app(path)
    except (ImportError, SyntaxError) as error:
        # Lambda's runtime client reports these two without a traceback, as errors of this module.
        raise ImproperlyConfigured(
            f"the application {path} can't be imported: {type(error).__name__}: {error}. Deploy a package in which it "
            "can; until then its messages come back, and are dead-lettered when their receives run out"
        ).with_traceback(error.__traceback__) from error


logs.set_up_in_function()
app = _load(_app_path())
lambda_handler = app.lambda_handler()
