"""Signed messages: HMAC and Ed25519 signatures, Celery's auth serializer, and the policy for unsigned messages."""
