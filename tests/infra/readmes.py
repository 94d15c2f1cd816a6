"""The reference part of the README of a Terraform module or example, as ``terraform-docs markdown table`` writes it.

Unlike terraform-docs' default, names have no anchors, links or escapes, so that the source text is easy to read.
After a change in a module or an example, write all README files again with::

    python -m tests.infra.readmes
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from tests.infra import configuration
from tests.infra.configuration import Configuration, Variable
from tests.infra.terraform import INFRA

BEGIN: Final = "<!-- BEGIN_TF_DOCS -->"
END: Final = "<!-- END_TF_DOCS -->"


def updated(folder: Path) -> str:
    """The text of a folder's README, with the reference part written anew."""
    written = (folder / "README.md").read_text(encoding="utf-8").partition(BEGIN)[0].rstrip()
    return f"{written}\n\n{BEGIN}\n{reference(configuration.read(folder))}\n{END}\n"


def reference(module: Configuration) -> str:
    """The sections from the requirements to the outputs."""
    used = {address.partition("_")[0] for address in module.resources + module.data_sources}
    # A resource of Terraform itself, such as terraform_data, needs no provider that has a version.
    providers = {name: version for name, version in module.requirements.items() if name in used - {"terraform"}}
    resources = [(name, "resource") for name in sorted(module.resources)]
    resources += [(name, "data source") for name in sorted(module.data_sources)]
    sections = (
        _section("Requirements", ("Name", "Version"), module.requirements.items()),
        _section("Providers", ("Name", "Version"), sorted(providers.items())),
        _section(
            "Modules",
            ("Name", "Source", "Version"),
            [(name, source, "n/a") for name, source in sorted(module.modules.items())],
        ),
        _section("Resources", ("Name", "Type"), resources),
        _section(
            "Inputs",
            ("Name", "Description", "Type", "Default", "Required"),
            [_input(name, each) for name, each in sorted(module.variables.items())],
        ),
        _section(
            "Outputs", ("Name", "Description"), [(name, _text(each)) for name, each in sorted(module.outputs.items())]
        ),
    )
    return "\n\n".join(sections)


def _section(title: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    written = [_row(each) for each in rows]
    if not written:
        return f"## {title}\n\nNo {title.lower()}."
    rule = [":------:" if name == "Required" else "-" * len(name) for name in columns]
    return "\n".join((f"## {title}\n", _row(columns), _row(rule), *written))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _input(name: str, variable: Variable) -> tuple[str, ...]:
    default = "n/a" if variable.required else _code(_json(variable.default))
    return name, _text(variable.description), _code(variable.type), default, "yes" if variable.required else "no"


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _text(text: str) -> str:
    """Escape the character that ends a cell, except in code."""
    parts = text.split("`")
    return "`".join(part if index % 2 else part.replace("|", "\\|") for index, part in enumerate(parts))


def _code(text: str) -> str:
    lines = text.splitlines()
    return f"`{text}`" if len(lines) == 1 else f"<pre>{'<br/>'.join(lines)}</pre>"


if __name__ == "__main__":
    for readme in sorted(INFRA.glob("*/*/README.md")):
        readme.write_text(updated(readme.parent), encoding="utf-8")
