"""README.md is short, its code can be pasted, and its commands and files exist."""

from __future__ import annotations

import ast
import re
import tomllib

import pytest

from tests.docs.samples import DOCS, README, Block, blocks_of

ROOT = DOCS.parent
TEXT = (DOCS / README).read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LINK = re.compile(r"\]\(([^)]+)\)")


def test_readme_fits_on_one_and_a_half_screens() -> None:
    assert len(TEXT.splitlines()) <= 80


@pytest.mark.parametrize("block", blocks_of(README), ids=lambda block: block.name)
def test_code_of_readme_can_be_pasted_without_change(block: Block) -> None:
    tree = ast.parse(block.code)  # fails for an await outside of a coroutine
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value is ...]
    waits = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "get"]
    imported = [each for each in tree.body if not isinstance(each, ast.If)]
    assert not [node for each in imported for node in ast.walk(each) if node in waits]


def test_make_targets_in_readme_exist() -> None:
    named = set(re.findall(r"make ([a-z-]+)", TEXT))
    assert {"demo", "test"} <= named
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert named <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def test_code_of_readme_has_about_fifteen_lines() -> None:
    (block,) = blocks_of(README)
    assert len(block.code.splitlines()) <= 16


def test_links_in_readme_on_github_lead_to_files() -> None:
    links = LINK.findall(TEXT)
    assert len(links) >= 5
    assert [link for link in links if not (ROOT / link.partition("#")[0]).exists()] == []


def test_links_in_readme_on_pypi_lead_to_files_in_the_repository() -> None:
    assert "readme" in PROJECT["project"]["dynamic"]
    hook = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    assert hook["fragments"] == [{"path": "README.md"}]
    text = TEXT
    for each in hook["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)
    repository = f"{PROJECT['project']['urls']['Documentation']}/blob/main/"
    assert LINK.findall(text) == [f"{repository}{link}" for link in LINK.findall(TEXT)]


def test_extras_in_readme_can_be_installed() -> None:
    extras = set(re.findall(r"\[(aws|azure|gcp|lambda)\]", TEXT))
    assert extras
    assert extras <= PROJECT["project"]["optional-dependencies"].keys()
