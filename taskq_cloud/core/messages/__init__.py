"""Messages on the wire: Celery's protocol, encoding and decoding, routing, sending, and late delivery."""
