"""The JSON Schema of a topology, which is stored in ``schema.json`` next to this file.

After a change of the model, ``python -m taskq_cloud.deploy.topology.schema`` writes the file again; a test compares it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from taskq_cloud.deploy.topology.model import Topology

PATH: Final = Path(__file__).with_name("schema.json")


def schema() -> dict[str, Any]:
    """Return the schema of the model."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Topology.model_json_schema(mode="serialization"),
    }


def text() -> str:
    """Return the content that the file should have."""
    return json.dumps(schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
