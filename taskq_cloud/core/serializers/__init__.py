"""Serializers and compression of arguments and results, with Celery's names and content types.

Signed messages and bodies are in ``core.security``. An optional package is imported when a serializer or a compression
first needs it.
"""

from taskq_cloud.core.serializers.compression import LARGEST_EXPANDED_BYTES, compress, decompress
from taskq_cloud.core.serializers.registry import (
    Serializer,
    register_serializer,
    serializer_for,
    serializer_named,
    unregister_serializer,
)
from taskq_cloud.core.serializers.rich_json import PlainForm, dumps, loads, strict

__all__ = [
    "LARGEST_EXPANDED_BYTES",
    "PlainForm",
    "Serializer",
    "compress",
    "decompress",
    "dumps",
    "loads",
    "register_serializer",
    "serializer_for",
    "serializer_named",
    "strict",
    "unregister_serializer",
]
