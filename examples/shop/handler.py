"""The shop's Lambda function. Its handler is ``shop.handler.handler``, and its event source is the queue it serves."""

import logging

from shop import app

# Lambda has already set up logging, so this call does nothing there. Elsewhere, log records go to standard error.
logging.basicConfig()
logging.getLogger("taskq_cloud").setLevel(logging.INFO)

app.import_modules()
handler = app.lambda_handler()
