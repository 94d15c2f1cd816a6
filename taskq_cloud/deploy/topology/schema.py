"""The JSON Schema of a topology, which is kept in ``schema.json`` beside this file.

``python -m taskq_cloud.deploy.topology.schema`` writes it anew when the model has changed; a test compares the two.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from taskq_cloud.deploy.topology.model import Topology

PATH: Final = Path(__file__).with_name("schema.json")


def schema() -> dict[str, Any]:
    """The schema, as the model has it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Topology.model_json_schema(mode="serialization"),
    }


def text() -> str:
    """The file's content, as it should be."""
    return json.dumps(schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
