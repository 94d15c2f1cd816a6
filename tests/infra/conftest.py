"""A fixture for tests that apply a configuration with the real AWS provider."""

from __future__ import annotations

import os

import pytest

from emulators import aws as stacks
from tests.infra.terraform import WRAPPERS


@pytest.fixture
def applied_stack(own_stack: stacks.Stack, monkeypatch: pytest.MonkeyPatch) -> stacks.Stack:
    """The stack of this process and its children, if the real provider is installed or may be fetched."""
    if not (WRAPPERS / "real").exists() and os.environ.get("TASKQ_TEST_TERRAFORM_APPLY") != "1":
        pytest.skip("the AWS provider is not installed; set TASKQ_TEST_TERRAFORM_APPLY=1 to fetch it from its registry")
    for name, value in own_stack.environment().items():
        monkeypatch.setenv(name, value)
    return own_stack
