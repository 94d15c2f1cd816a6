"""How an application's tasks are served: by programs, by a Lambda function, and by an endpoint (``Served``)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any


class Served:
    """The part of an application that starts its programs and makes its handlers."""

    native: Any

    def start(self, argv: Sequence[str] | None = None) -> Any:
        """Run the command line of ``taskq celery``, by default with the arguments of this process."""
        from taskq_cloud.celery.bin.celery import main  # few processes are the program

        return main(sys.argv if argv is None else argv, app=self)

    def worker_main(self, argv: Sequence[str] | None = None) -> Any:
        """Run the command ``worker``.

        Raises:
            ValueError: ``worker`` isn't among the arguments.
        """
        given = sys.argv if argv is None else argv
        if "worker" not in given:
            raise ValueError(
                "The worker sub-command must be specified in argv.\n"
                "Use app.start() to programmatically start other commands."
            )
        return self.start(argv=given)

    # -- functions and endpoints, which Celery doesn't have

    def lambda_handler(self) -> Any:
        """Make the handler of an AWS Lambda function that runs the application's tasks: see docs/lambda.md."""
        return self.native.lambda_handler()

    def pubsub_push_handler(self, **options: Any) -> Any:
        """Make the endpoint to which Pub/Sub pushes the application's messages, as a WSGI and an ASGI application.

        Args:
            options: the endpoint's options: see docs/pubsub.md. ``audience`` and ``service_account`` are required.

        Raises:
            ImproperlyConfigured: an option is wrong.
            TypeError: an option is missing or unknown.
        """
        return self.native.pubsub_push_handler(**options)
