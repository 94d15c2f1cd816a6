"""IAM policy documents, one for each role."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from taskq_cloud.deploy.topology.model import Statement, Topology


@dataclass(frozen=True, slots=True)
class ArnPlaceholders:
    """Values for the placeholders in a topology's ARNs; a placeholder whose value is None is left as it is.

    Args:
        account: the id of the AWS account, for ``{account}``.
        region: the Region, for ``{region}``.
        partition: ``aws``, ``aws-cn`` or ``aws-us-gov``, for ``{partition}``.
    """

    account: str | None = None
    region: str | None = None
    partition: str = "aws"

    def fill(self, arn: str) -> str:
        """Replace the placeholders in an ARN."""
        values = {"{partition}": self.partition, "{region}": self.region, "{account}": self.account}
        for placeholder, value in values.items():
            if value is not None:
                arn = arn.replace(placeholder, value)
        return arn


def policies(topology: Topology, placeholders: ArnPlaceholders) -> dict[str, dict[str, Any]]:
    """Return the policy document of each role, by the role's name.

    Args:
        topology: the topology.
        placeholders: the values for its ARNs; a Region that is None is the topology's own.
    """
    placeholders = replace(placeholders, region=placeholders.region or topology.region)
    return {
        role.name: {
            "Version": "2012-10-17",
            "Statement": [_statement(each, placeholders) for each in role.statements],
        }
        for role in topology.roles
    }


def write(topology: Topology, placeholders: ArnPlaceholders | None = None) -> str:
    """Write the policies as one JSON object, by the role's name."""
    return json.dumps(policies(topology, placeholders or ArnPlaceholders()), indent=2)


def _statement(statement: Statement, placeholders: ArnPlaceholders) -> dict[str, Any]:
    written: dict[str, Any] = {
        "Sid": statement.sid,
        "Effect": "Allow",
        "Action": list(statement.actions),
        "Resource": [placeholders.fill(each) for each in statement.resources],
    }
    if statement.conditions:
        conditions: dict[str, dict[str, list[str]]] = {}
        for each in statement.conditions:
            conditions.setdefault(each.operator, {})[each.key] = [placeholders.fill(value) for value in each.values]
        written["Condition"] = conditions
    return written
