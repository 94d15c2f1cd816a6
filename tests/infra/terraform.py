"""Terraform as it is on this machine: with providers that are installed here, or from their registry.

``shared/terraform`` beside the project has wrappers that serve providers without a network: ``offline``, of the newest
generation, and ``real``, the AWS provider of the one before, which can be applied.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra" / "terraform"
WRAPPERS = ROOT.parent / "shared" / "terraform"

_NOT_INSTALLED = 3
"""What the wrapper exits with where its provider is not on the machine."""


@dataclass(frozen=True)
class Terraform:
    """Runs commands in one folder of the project, which stays as it is: all that Terraform writes is elsewhere.

    Args:
        prefix: the command that makes providers available.
        data: where what ``init`` fetches goes.
        environment: variables, beside this process's.
    """

    prefix: tuple[str, ...]
    data: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.prefix, "terraform", f"-chdir={folder}", *arguments],
            env={**os.environ, **self.environment, "TF_DATA_DIR": str(self.data), "TF_IN_AUTOMATION": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == _NOT_INSTALLED and self.prefix:
            pytest.skip(done.stderr.strip().splitlines()[-1])
        assert not check or done.returncode == 0, f"terraform {arguments[0]}: {done.stdout}\n{done.stderr}"
        return done

    def plan(self, folder: Path, *arguments: str) -> dict[str, Any]:
        """A plan, as ``terraform show -json`` has it."""
        saved = self.data / "saved.tfplan"
        self.run(folder, "plan", "-input=false", "-no-color", f"-out={saved}", *arguments)
        shown: dict[str, Any] = json.loads(self.run(folder, "show", "-json", str(saved)).stdout)
        return shown

    def init(self, folder: Path) -> None:
        """Skips where neither a wrapper nor the registry has the providers."""
        done = self.run(folder, "init", "-backend=false", "-input=false", "-no-color", check=False)
        if done.returncode != 0 and not self.prefix and "Failed to query available provider packages" in done.stderr:
            pytest.skip("neither installed providers nor their registry are within reach")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def with_providers(wrapper: str, data: Path, **environment: str) -> Terraform:
    """Terraform with the providers of a wrapper, or, without wrappers, of the registry."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    path = WRAPPERS / wrapper
    return Terraform((str(path),) if path.exists() else (), data, environment)


def copy_of(folder: Path, destination: Path) -> Path:
    """A copy of all modules and of one folder that uses them: no test writes into the project, or into another's."""
    copied = shutil.copytree(INFRA, destination / "terraform", ignore=shutil.ignore_patterns(".terraform*"))
    return copied / folder.relative_to(INFRA)


def planned(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The resources as they will be, by address."""
    found = {}
    modules = [plan["planned_values"]["root_module"]]
    for module in modules:
        found.update({each["address"]: each for each in module.get("resources", []) if each["mode"] == "managed"})
        modules.extend(module.get("child_modules", []))
    return found


def changes(plan: dict[str, Any]) -> dict[str, list[str]]:
    """What becomes of the resources that don't stay as they are, by address."""
    managed = (each for each in plan["resource_changes"] if each["mode"] == "managed")
    return {each["address"]: each["change"]["actions"] for each in managed if each["change"]["actions"] != ["no-op"]}
