"""Write the last section of docs/celery.md from the tables of tests: ``python -m tests.docs.celery_differences``.

Tests run one scenario with Celery and with ``taskq_cloud.celery``, and list the scenarios whose outcomes differ, each
with the reason. The section shows these reasons, so that no difference that a test knows is missing on the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.celery.interop.test_wire import DIFFERENCES as IN_MESSAGES
from tests.celery.scenarios.differences import DIFFERENCES as IN_SCENARIOS
from tests.docs.samples import DOCS

PAGE: Final = DOCS / "celery.md"
HEADING: Final = "## Differences in detail"
_PARTS: Final = {
    "applications": "applications",
    "calls": "calls",
    "eager": "calls in place",
    "interfaces": "exceptions",
    "processes": "processes",
    "retrying": "retries",
    "settings_on_worker": "settings",
    "state_and_proxies": "proxies",
    "tasks_on_worker": "tasks in a worker",
    "workflows_on_worker": "workflows in a worker",
}
"""The file of a scenario -> its name on the page."""
_HEAD: Final = f"""{HEADING}

Tests run one scenario with Celery and here, and compare values, exceptions, states, ids and messages. They have found
these further differences. The section is generated from the tables of these tests
(`python -m tests.docs.celery_differences`).

| of | difference |
|---|---|
"""


def section() -> str:
    """Return the section, as Markdown."""
    rows = dict.fromkeys([*_of_scenarios(), *_of_messages()])
    return _HEAD + "\n".join(f"| {part} | {text} |" for part, text in rows) + "\n"


def _of_scenarios() -> Iterator[tuple[str, str]]:
    for name, reason in IN_SCENARIOS.items():
        part = name.partition(".")[0]
        yield _PARTS.get(part, part.replace("_", " ")), _code(reason)


def _of_messages() -> Iterator[tuple[str, str]]:
    for pattern, reason in IN_MESSAGES.items():
        field = pattern.removesuffix("$").rpartition(r"\.")[2].strip("()").replace("|", "`, `").replace(r"\d", "n")
        yield "messages", f"`{field}`: {_code(reason)}."


def _code(text: str) -> str:
    return text.replace("|", r"\|").rstrip(".") + ("." if text.endswith(".") else "")


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8").partition(HEADING)[0].rstrip("\n")
    PAGE.write_text(f"{text}\n\n{section()}", encoding="utf-8")
