"""The topology itself, as JSON that ``topology.schema`` describes."""

from __future__ import annotations

from taskq_cloud.deploy.topology.model import Topology


def write(topology: Topology) -> str:
    """A topology as JSON; ``Topology.model_validate_json`` reads it."""
    return topology.model_dump_json(indent=2)
