"""Tests that docs/topology.md and schema.json match the code."""

import json
import re

import pytest
from pydantic import BaseModel

from taskq_cloud.deploy.topology import schema
from taskq_cloud.deploy.topology.deployment import Deployment, FunctionOptions, ServiceOptions
from tests.deploy.topology.documented import documented_app, example
from tests.docs.samples import DOCS
from tests.docs.test_tables import rows


def test_published_schema_matches_the_model() -> None:
    assert schema.PATH.read_text(encoding="utf-8") == schema.text(), "run: python -m taskq_cloud.deploy.topology.schema"


def test_documented_variables_match_the_application() -> None:
    page = (DOCS / "topology.md").read_text(encoding="utf-8").partition("## Terraform variables")[2]
    shown = re.search(r"```json\n(.*?)```", page, re.DOTALL)
    assert shown
    assert shown[1] == json.dumps(example(documented_app()), indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize("kind", [Deployment, FunctionOptions, ServiceOptions], ids=lambda kind: kind.__name__)
def test_every_deployment_option_is_documented(kind: type[BaseModel]) -> None:
    documented = {row[0].strip("`"): row[1].strip("`") for row in rows("topology.md", "## Deployment")}
    for name in kind.model_fields:
        assert name in documented
