"""kombu as ``Any``: kombu says that it has types, but most of its functions have none."""

from __future__ import annotations

from typing import Any

import kombu.compression
import kombu.connection
import kombu.serialization
import kombu.utils.json

Connection: Any = kombu.connection.Connection
compression: Any = kombu.compression
json: Any = kombu.utils.json
serialization: Any = kombu.serialization
