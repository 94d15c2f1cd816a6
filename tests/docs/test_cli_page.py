"""Tests of docs/cli.md, which is generated from the commands."""

from __future__ import annotations

from taskq_cloud.cli import COMMANDS
from tests.docs import cli
from tests.docs.samples import DOCS


def test_page_equals_generated_page() -> None:
    written = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert written == cli.page(), "run: python -m tests.docs.cli > docs/cli.md"


def test_every_command_has_a_section_and_is_in_the_contents() -> None:
    page = cli.page()
    for name in COMMANDS:
        assert f"\n## taskq {name}\n" in page
        assert f"](#taskq-{name}): " in page
