"""The entry point of an AWS Lambda function: ``taskq_cloud.lambda_function.lambda_handler`` is its handler.

The environment variable ``TASKQ_APP`` says which application it serves: ``shop.tasks:app``. It answers batches of an
SQS event source, direct invocations, schedules and events alike: see ``serverless.aws_lambda``. A function with a
module of its own that says ``handler = app.lambda_handler()`` has no need of it.

Lambda has set up logging before it imports this: lines of the library, and of tasks' own code, get the task's id.
``TASKQ_LOG_LEVEL`` (``info``, ``debug``) is the library's.
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
            f"the function's environment has no {APP_VARIABLE}: set it to the application, such as shop.tasks:app"
        )
    return path


logs.set_up_in_function()
app = find_app(_app_path())
lambda_handler = app.lambda_handler()
