"""The shop's Lambda function. Its handler is ``shop.handler.handler``; the queue it serves is its event source."""

import logging

from shop import app

# Lambda has set up a handler of log records already, where this does nothing; elsewhere they go to standard error.
logging.basicConfig()
logging.getLogger("taskq_cloud").setLevel(logging.INFO)

app.import_modules()
handler = app.lambda_handler()
