"""Runs Terraform with providers that are installed on this machine, or else with providers from their registry.

The folder ``shared/terraform`` beside the project may hold wrappers that serve providers without a network:
``offline`` serves stand-ins with the schemas of the newest versions, and ``real`` serves version 5 of the AWS provider,
which can be applied.
"""

from __future__ import annotations

import fcntl
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
"""Exit code of a wrapper whose provider is not on this machine."""


@dataclass(frozen=True)
class Terraform:
    """Runs Terraform commands in a folder and keeps Terraform's own files outside of it.

    Args:
        prefix: the command that makes the providers available, or an empty tuple.
        data: the folder for the files that ``terraform init`` fetches.
        environment: environment variables in addition to those of this process.
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
        """Make a plan, and return it in the format of ``terraform show -json``."""
        saved = self.data / "saved.tfplan"
        self.run(folder, "plan", "-input=false", "-no-color", f"-out={saved}", *arguments)
        shown: dict[str, Any] = json.loads(self.run(folder, "show", "-json", str(saved)).stdout)
        return shown

    def apply(self, folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(folder, "apply", "-auto-approve", "-input=false", "-no-color", *arguments, check=check)

    def init(self, folder: Path) -> None:
        """Run ``terraform init``; skip the test if neither a wrapper nor the registry has the providers."""
        done = self.run(folder, "init", "-backend=false", "-input=false", "-no-color", check=False)
        if done.returncode != 0 and not self.prefix and "Failed to query available provider packages" in done.stderr:
            pytest.skip("the providers are neither installed nor can their registry be reached")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def with_providers(wrapper: str, data: Path, **environment: str) -> Terraform:
    """Return Terraform with the providers of a wrapper, or of the registry if there is no such wrapper."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    path = WRAPPERS / wrapper
    if not path.exists():
        return Terraform((), data, environment)
    return Terraform((str(path),), data, {"XDG_CACHE_HOME": str(_own_cache(data)), **environment})


def _own_cache(data: Path) -> Path:
    """Make the folder of a wrapper's files, which it writes anew each time: another test's Terraform may run them now.

    The wrapper's Python environment is shared, because making it takes long.
    """
    shared = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "terraform-offline"
    shared.mkdir(parents=True, exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "ready").exists():
            subprocess.run([str(WRAPPERS / "offline"), "true"], check=True)
    own = data / "cache" / "terraform-offline"
    own.mkdir(parents=True, exist_ok=True)
    for name in ("venv", "ready"):
        if not (own / name).is_symlink():
            (own / name).symlink_to(shared / name)
    return own.parent


def copy_of(folder: Path, destination: Path) -> Path:
    """Copy all modules and examples, and return the copy of the given folder: tests write into copies only."""
    copied = shutil.copytree(INFRA, destination / "terraform", ignore=shutil.ignore_patterns(".terraform*"))
    return copied / folder.relative_to(INFRA)


def planned(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the resources after the plan, by address."""
    found = {}
    modules = [plan["planned_values"]["root_module"]]
    for module in modules:
        found.update({each["address"]: each for each in module.get("resources", []) if each["mode"] == "managed"})
        modules.extend(module.get("child_modules", []))
    return found


def changes(plan: dict[str, Any]) -> dict[str, list[str]]:
    """Return the actions of a plan on the resources that change, by address."""
    managed = (each for each in plan["resource_changes"] if each["mode"] == "managed")
    return {each["address"]: each["change"]["actions"] for each in managed if each["change"]["actions"] != ["no-op"]}
