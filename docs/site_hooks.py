"""Changes that the site's generator makes to pages, which are written for GitHub and for the tests that run them."""

import re
from pathlib import Path
from typing import Any

_DOCS = Path(__file__).parent
_HEADING = re.compile(r"^# (.+)$", re.MULTILINE)
_LINK_BY_FILE = re.compile(r"\[([\w-]+\.md)\]\((?=\1[)#])")
_MARKED_FENCE = re.compile(r"^(```[a-z]+) \w+$", re.MULTILINE)
_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
_CODE = re.compile(r"<code>([^<]*)</code>")
_PAGE_IN_DOCSTRING = re.compile(r"(?P<code><code.*?</code>)|docs/(?P<page>[\w-]+)\.md", re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Take the tests' marks (``python aws``) off the fences, and give links to pages the pages' titles."""
    return _LINK_BY_FILE.sub(_link_by_title, _MARKED_FENCE.sub(r"\1", markdown))


def on_page_content(html: str, **_: Any) -> str:
    """Keep names in tables unbroken and escaped bars bars, and link the pages that docstrings name."""
    html = _TABLE.sub(lambda table: _CODE.sub(_unbroken, table[0].replace(r"\|", "|")), html)
    return _PAGE_IN_DOCSTRING.sub(_linked_page, html)


def _link_by_title(link: re.Match[str]) -> str:
    title = _title(link[1].removesuffix(".md"))
    return f"[{title}](" if title else link[0]


def _linked_page(found: re.Match[str]) -> str:
    """Link a page that a docstring names by its file; code stays as it is."""
    title = _title(found["page"]) if found["page"] else None
    return f'<a href="{found["page"]}.html">{title}</a>' if title else found[0]


def _title(page: str) -> str | None:
    path = _DOCS / f"{page}.md"
    heading = _HEADING.search(path.read_text(encoding="utf-8")) if path.exists() else None
    return heading[1] if heading else None


def _unbroken(code: re.Match[str]) -> str:
    """Make code of several words such that a line ends only between two of them; site.css does the rest."""
    words = code[1].split(" ")
    if len(words) == 1:
        return code[0]
    return '<code class="words">' + " ".join(f"<span>{word}</span>" for word in words) + "</code>"
