"""Authenticity of messages: HMAC signatures, Celery's auth serializer, and the policy of what a message needs."""
