"""IAM policy documents, one for each role."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taskq_cloud.deploy.topology.model import Statement, Topology


@dataclass(frozen=True, slots=True)
class Place:
    """Where a topology is deployed; what is None stays a placeholder.

    Args:
        account: the id of the AWS account.
        region: the Region.
        partition: ``aws``, ``aws-cn`` or ``aws-us-gov``.
    """

    account: str | None = None
    region: str | None = None
    partition: str = "aws"

    def fill(self, arn: str) -> str:
        """Put this place into an ARN."""
        known = {"{partition}": self.partition, "{region}": self.region, "{account}": self.account}
        for placeholder, value in known.items():
            if value is not None:
                arn = arn.replace(placeholder, value)
        return arn


def policies(topology: Topology, place: Place) -> Mapping[str, Any]:
    """The policy document of each role, by its name."""
    place = Place(place.account, place.region or topology.region, place.partition)
    return {
        role.name: {
            "Version": "2012-10-17",
            "Statement": [_statement(each, place) for each in role.statements],
        }
        for role in topology.roles
    }


def write(topology: Topology, place: Place | None = None) -> str:
    """The policies as one JSON object, by role."""
    return json.dumps(policies(topology, place or Place()), indent=2)


def _statement(statement: Statement, place: Place) -> dict[str, Any]:
    written: dict[str, Any] = {
        "Sid": statement.sid,
        "Effect": "Allow",
        "Action": list(statement.actions),
        "Resource": [place.fill(each) for each in statement.resources],
    }
    if statement.conditions:
        conditions: dict[str, Any] = {}
        for each in statement.conditions:
            conditions.setdefault(each.operator, {})[each.key] = [place.fill(value) for value in each.values]
        written["Condition"] = conditions
    return written
