"""The application of docs/topology.md, and the Terraform variables that the page shows."""

import sys
import types
from typing import Any

from taskq_cloud import TaskQ
from taskq_cloud.deploy.topology.formats import tfvars
from tests.docs.samples import blocks_of


def documented_app() -> TaskQ:
    page = types.ModuleType("shop")
    before = sys.modules.get("shop")
    sys.modules["shop"] = page
    try:
        exec(blocks_of("topology.md")[0].code, vars(page))
    finally:
        sys.modules.pop("shop")
        if before is not None:
            sys.modules["shop"] = before
    app: TaskQ = page.app
    return app


def example(app: TaskQ) -> dict[str, Any]:
    """Return the application's Terraform variables, with only the shortest role, the producer's."""
    variables = tfvars.variables(app.topology(app_path="shop:app"))
    return {**variables, "roles": {"shop-producer": variables["roles"]["shop-producer"]}}
