"""Writes a topology as JSON, which ``topology.schema`` describes."""

from __future__ import annotations

from taskq_cloud.deploy.topology.model import Topology


def write(topology: Topology) -> str:
    """Write a topology as JSON; ``Topology.model_validate_json`` reads it back."""
    return topology.model_dump_json(indent=2, exclude=None if topology.servers else {"servers"})
