"""Tests of the source archive, and of the Containerfile for a function's image."""

import re
import shlex
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

_FROM_THE_ROOT = re.compile(r'(?:ROOT|parents\[\d\])\s*/\s*"([^".][^"]*)"')
"""A file or folder of the project that a test reads; names that begin with a dot are build products."""


def test_source_archive_contains_files_that_tests_read() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py")]
    named = {name for source in sources for name in _FROM_THE_ROOT.findall(source) if (ROOT / name).exists()}
    assert {"docs", "infra", "mkdocs.yml"} <= named
    included = set(PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])
    assert named - included - {"pyproject.toml"} == set()
    # Tests find these folders in other ways: as a module, or by a command in the documentation.
    assert {"benchmarks", "examples", "lambda", "tests"} <= included


def test_image_installs_pinned_packages_and_runs_without_root() -> None:
    recipe = (ROOT / "lambda" / "Containerfile").read_text("utf-8")
    (install,) = re.findall(r"^RUN .*pip install (.*)$", recipe, flags=re.MULTILINE)
    packages = dict(each.split("==") for each in shlex.split(install) if not each.startswith("-"))
    assert packages.keys() == {"awslambdaric", "boto3"}
    groups = [*PROJECT["project"]["optional-dependencies"].values(), *PROJECT["dependency-groups"].values()]
    pins = [each for group in groups for each in group if isinstance(each, str)]
    assert {f"{name}=={version}" for name, version in packages.items()} <= set(pins)
    (user,) = re.findall(r"^USER (\S+)$", recipe, flags=re.MULTILINE)
    assert user != "root"
    assert recipe.index("RUN ") < recipe.index("USER ") < recipe.index("ENTRYPOINT ")
