"""Every drawing under docs/diagrams/ was made from the source beside it, and a page shows it."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
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


def test_make_diagrams_draws_every_source_again(tmp_path: Path) -> None:
    makefile = (DOCS.parent / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^diagrams:.*\n\t\$\(PYTHON\) docs/diagrams/draw\.py$", makefile, re.MULTILINE)
    if shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed: apt-get install graphviz")
    for path in [*SOURCES, FOLDER / "draw.py"]:
        shutil.copy(path, tmp_path)
    subprocess.run([sys.executable, tmp_path / "draw.py"], check=True, timeout=60)
    for source in SOURCES:
        # Another version of Graphviz, or other fonts, may put the labels elsewhere.
        drawn, kept = ((folder / f"{source.stem}.svg").read_text("utf-8") for folder in (tmp_path, FOLDER))
        assert _labels(drawn) == _labels(kept)


def _labels(drawing: str) -> list[str]:
    return sorted(re.findall(r"<text [^>]*>([^<]*)</text>", drawing))
