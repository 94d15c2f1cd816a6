"""Draw the diagrams of the documentation: each ``.dot`` file in this folder becomes the ``.svg`` file beside it.

Needs Graphviz (Debian: ``apt-get install graphviz``). Run it with ``make diagrams`` after a change of a source. The
drawings were made with Graphviz 2.43; another version, or other fonts, may move boxes and labels a little.
"""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
LABELS_ON_DARK: Final = "<style>@media (prefers-color-scheme: dark) { .edge text { fill: #b4bdcf } }</style>"
"""Boxes bring their own background, so only the labels of the arrows stand on the page's."""


def digest(source: Path) -> str:
    """Return the line of a drawing that names the source it was made from, so that a test can tell an old drawing."""
    return f"<!-- source: {source.name} sha256:{hashlib.sha256(source.read_bytes()).hexdigest()} -->"


def draw(source: Path) -> str:
    """Return the drawing of a source, as SVG for light and dark pages."""
    program = shutil.which("dot")
    if program is None:
        sys.exit("Graphviz is not installed: there is no program dot (Debian: apt-get install graphviz)")
    drawn = subprocess.run([program, "-Tsvg", source], check=True, capture_output=True, text=True).stdout
    # The declaration, the document type and the comment with Graphviz's version are of no use in a page.
    svg = drawn[drawn.index("<svg") :]
    opening, rest = svg.split(">", 1)
    return re.sub(r"\s+", " ", opening) + f">\n{digest(source)}\n{LABELS_ON_DARK}{rest}"


if __name__ == "__main__":
    for each in sorted(FOLDER.glob("*.dot")):
        each.with_suffix(".svg").write_text(draw(each), encoding="utf-8")
