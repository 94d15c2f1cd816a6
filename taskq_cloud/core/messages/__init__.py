"""Messages on the wire: Celery's protocol, the codec, events of other services, routing, sending, late delivery."""
