"""The scenarios that the contract of the pipeline plays, each with a crash at every step."""

from __future__ import annotations

from typing import Final

from taskq_cloud.testing.contracts.pipeline_conditions import CONDITIONS
from taskq_cloud.testing.contracts.pipeline_fan_out import FAN_OUTS
from taskq_cloud.testing.contracts.pipeline_runs import RUNS
from taskq_cloud.testing.contracts.pipeline_workflows import WORKFLOWS

SCENARIOS: Final = [*RUNS, *CONDITIONS, *WORKFLOWS, *FAN_OUTS]
