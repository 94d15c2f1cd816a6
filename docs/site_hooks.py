"""What the site's generator takes otherwise than the pages are written, for GitHub and for the tests that run them."""

import re
from typing import Any

_MARKED_FENCE = re.compile(r"^(```[a-z]+) \w+$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Take the tests' marks (``python aws``) off the fences."""
    return _MARKED_FENCE.sub(r"\1", markdown)
