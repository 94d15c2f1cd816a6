"""README.md is short, its code can be pasted, and its commands and files exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.samples import DOCS, README, blocks_of

ROOT = DOCS.parent
TEXT = (DOCS / README).read_text(encoding="utf-8")


def test_readme_fits_on_one_and_a_half_screens() -> None:
    assert len(TEXT.splitlines()) <= 80


@pytest.mark.parametrize("block", blocks_of(README), ids=lambda block: block.name)
def test_code_can_be_pasted_without_change(block) -> None:
    tree = ast.parse(block.code)  # fails for an await outside of a coroutine
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value is ...]
    waits = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "get"]
    imported = [each for each in tree.body if not isinstance(each, ast.If)]
    assert not [node for each in imported for node in ast.walk(each) if node in waits]


def test_make_targets_exist() -> None:
    named = set(re.findall(r"make ([a-z-]+)", TEXT))
    assert {"demo", "test"} <= named
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert named <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", TEXT):
        assert (ROOT / target).exists(), target


def test_extras_can_be_installed() -> None:
    extras = set(re.findall(r"\[(aws|azure|gcp|lambda)\]", TEXT))
    declared = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert extras
    assert extras <= set(declared)
