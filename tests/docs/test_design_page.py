"""docs/design.md names rooms, files and functions that exist, and each of its trips is short."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import taskq_cloud
from tests.docs.samples import DOCS
from tests.docs.test_tables import rows

PACKAGE = Path(taskq_cloud.__file__).parent
TEXT = (DOCS / "design.md").read_text(encoding="utf-8")
TRIPS = dict(re.findall(r"^### ([^\n]+)\n(.*?)(?=^#)", TEXT, re.MULTILINE | re.DOTALL))
DEFINED_IN = re.compile(r"`([\w.]+)` in `((?:\w+/)*\w+\.py)`")
_NAME = re.compile(r"`([^`]+)`")


def documented_rooms() -> list[str]:
    return [name.rstrip("/") for row in rows("design.md", "## Rooms") for name in _NAME.findall(row[0])]


def test_table_of_rooms_has_every_package_and_module() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    modules = {path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
    assert sorted(documented_rooms()) == sorted(packages | modules)


def test_rooms_have_the_order_of_the_contract_on_imports() -> None:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {contract["name"]: contract for contract in project["tool"]["importlinter"]["contracts"]}
    layers = contracts["Imports run one way"]["layers"]
    height = {name.rpartition(".")[2]: at for at, layer in enumerate(layers) for name in re.split(r" [|:] ", layer)}
    packages = [name for name in documented_rooms() if name in height and (PACKAGE / name).is_dir()]
    assert len(packages) >= 14
    heights = [height[name] for name in packages]
    assert heights == sorted(heights)


@pytest.mark.parametrize("trip", ["A call", "A delivery", "A tick of a periodic task", "A result on its way back"])
def test_trip_names_files_in_under_ten_lines(trip: str) -> None:
    steps = re.split(r"^\d\. ", TRIPS[trip], flags=re.MULTILINE)[1:]
    assert len(steps) >= 4
    assert sum(len(step.strip().splitlines()) for step in steps) < 10
    assert all(re.search(r"`(?:\w+/)+(?:\w+\.py)?`", step) for step in steps)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:\w+/)*\w+\.py)`", TEXT))))
def test_named_file_exists(path: str) -> None:
    assert (DOCS.parent / path).is_file() or [*PACKAGE.rglob(path)] != []


@pytest.mark.parametrize("folder", sorted(set(re.findall(r"`((?:\w+/)+)`", TEXT))))
def test_named_folder_exists(folder: str) -> None:
    assert any(base.joinpath(folder).is_dir() for base in (PACKAGE, PACKAGE / "core" / "execution", DOCS.parent))


@pytest.mark.parametrize(("name", "path"), sorted(set(DEFINED_IN.findall(TEXT))))
def test_named_function_is_defined_in_its_file(name: str, path: str) -> None:
    source = (PACKAGE / path).read_text(encoding="utf-8")
    for part in name.split("."):
        assert re.search(rf"^ *(?:(?:async )?def|class) {part}\b|^{part}\b.* = ", source, re.MULTILINE), part
