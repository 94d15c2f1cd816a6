"""Every drawing under docs/diagrams/ was made from the source beside it, and a page shows it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from tests.docs.samples import DOCS

FOLDER = DOCS / "diagrams"
SOURCES = sorted(FOLDER.glob("*.dot"))
_SHOWN = re.compile(r"!\[([^\]]+)\]\(diagrams/([\w-]+\.svg)\)")


def test_sources_and_drawings_are_pairs() -> None:
    assert {path.stem for path in SOURCES} == {path.stem for path in FOLDER.glob("*.svg")}
    assert {"aws", "delivery", "first-task"} <= {path.stem for path in SOURCES}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_drawing_is_as_new_as_its_source(source: Path) -> None:
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    drawing = source.with_suffix(".svg").read_text(encoding="utf-8")
    assert f"<!-- source: {source.name} sha256:{digest} -->" in drawing, "run make diagrams"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_drawing_has_labels_for_dark_pages(source: Path) -> None:
    drawing = source.with_suffix(".svg").read_text(encoding="utf-8")
    assert "@media (prefers-color-scheme: dark)" in drawing
    assert '<polygon fill="white"' not in drawing


def test_pages_show_every_drawing_with_a_description() -> None:
    texts = [path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")]
    shown = {name: description for text in texts for description, name in _SHOWN.findall(text)}
    assert shown.keys() == {f"{path.stem}.svg" for path in SOURCES}
    assert all(len(description.split()) >= 10 for description in shown.values())
