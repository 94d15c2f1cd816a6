"""The entry point of an AWS Lambda function: set its handler to ``taskq_cloud.lambda_function.lambda_handler``.

The environment variable ``TASKQ_APP`` names the application that the function serves: ``shop.tasks:app``. The handler
answers batches of an SQS event source, direct invocations, schedules and other events: see ``serverless.aws_lambda``.
A function that has its own module with ``handler = app.lambda_handler()`` does not need this module.

Lambda has set up logging before it imports this module. Log lines of the library and of tasks get the task's id.
``TASKQ_LOG_LEVEL`` (``info``, ``debug``) sets the library's log level.
"""

from __future__ import annotations

import os

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


logs.set_up_in_function()
app = find_app(_app_path())
lambda_handler = app.lambda_handler()
