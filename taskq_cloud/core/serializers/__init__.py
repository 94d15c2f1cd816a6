"""Bytes of arguments and results: serializers and compression, under the names and content types Celery gives them.

What is signed is ``core.auth`` and ``core.signing``. An optional package is imported when a serializer or a compression
that needs it is used.
"""

from taskq_cloud.core.serializers.compression import LARGEST_EXPANDED_BYTES, compress, decompress
from taskq_cloud.core.serializers.registry import (
    Serializer,
    register_serializer,
    serializer_for,
    serializer_named,
    unregister_serializer,
)
from taskq_cloud.core.serializers.rich_json import PlainForm, dumps, loads

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
    "unregister_serializer",
]
