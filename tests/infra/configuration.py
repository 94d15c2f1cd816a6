"""The variables, outputs, resources and requirements of one Terraform module, read from its ``.tf`` files.

Only literal values are read: descriptions, defaults, versions and sources. Expressions are not evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import hcl2
from lark import Token, Tree

_OPTIONS: Final = hcl2.SerializationOptions(with_comments=False, explicit_blocks=False)


@dataclass(frozen=True)
class Variable:
    """One input of a module.

    Args:
        description: the description, or an empty string.
        type: the source text of the type, line breaks included, or an empty string.
        default: the default as JSON values.
        required: True if there is no default.
    """

    description: str
    type: str
    default: Any
    required: bool


@dataclass
class Configuration:
    """The declarations of a module, by name.

    Args:
        requirements: version constraints of ``terraform`` and of each provider.
        modules: sources of the modules that it calls.
        resources: addresses of its resources, such as ``aws_sqs_queue.this``.
        data_sources: addresses of its data sources, without the leading ``data.``.
        variables: its inputs.
        outputs: descriptions of its outputs.
    """

    requirements: dict[str, str] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    resources: list[str] = field(default_factory=list)
    data_sources: list[str] = field(default_factory=list)
    variables: dict[str, Variable] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)


def read(folder: Path) -> Configuration:
    """Read all ``.tf`` files of a folder, without the folders below it."""
    found = Configuration()
    for file in sorted(folder.glob("*.tf")):
        _add(found, file.read_text(encoding="utf-8"))
    return found


def values(file: Path) -> dict[str, Any]:
    """Read the inputs in a ``.tfvars`` file."""
    read: dict[str, Any] = hcl2.loads(file.read_text(encoding="utf-8"), serialization_options=_OPTIONS)
    return {name: _literal(value) for name, value in read.items()}


def _add(found: Configuration, text: str) -> None:
    content = hcl2.loads(text, serialization_options=_OPTIONS)
    types = dict(_types(text))
    for settings in content.get("terraform", []):
        found.requirements["terraform"] = _literal(settings["required_version"])
        for providers in settings["required_providers"]:
            found.requirements.update({name: _literal(each["version"]) for name, each in providers.items()})
    for name, body in _labelled(content, "variable"):
        default = _literal(body.get("default"))
        description = _literal(body.get("description", '""'))
        found.variables[name] = Variable(description, types.get(name, ""), default, "default" not in body)
    for name, body in _labelled(content, "output"):
        found.outputs[name] = _literal(body.get("description", '""'))
    for name, body in _labelled(content, "module"):
        found.modules[name] = _literal(body["source"])
    for kind, addresses in (("resource", found.resources), ("data", found.data_sources)):
        for block in content.get(kind, []):
            for label, names in block.items():
                addresses.extend(f"{_literal(label)}.{_literal(name)}" for name in names)


def _labelled(content: Mapping[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The blocks with one label, such as ``variable "name" {}``: label and attributes."""
    for block in content.get(kind, []):
        for label, body in block.items():
            yield _literal(label), body


def _literal(value: Any) -> Any:
    """A value without HCL's quotation marks and escapes."""
    if isinstance(value, str):
        assert value.startswith('"'), f"an expression where a literal is expected: {value}"
        return json.loads(value).replace("$${", "${").replace("%%{", "%{")
    if isinstance(value, dict):
        return {_literal(key) if key.startswith('"') else key: _literal(each) for key, each in value.items()}
    return [_literal(each) for each in value] if isinstance(value, list) else value


def _types(text: str) -> Iterator[tuple[str, str]]:
    """Name and source text of the type of each variable."""
    for block in hcl2.parses_to_tree(text).find_data("block"):
        words = [each for each in block.children if isinstance(each, Tree)]
        if [_source(text, each) for each in words[:1]] != ["variable"]:
            continue
        name = json.loads(_source(text, words[1]))
        for attribute in words[-1].children:
            if isinstance(attribute, Tree) and attribute.data == "attribute":
                key, *_, value = (each for each in attribute.children if isinstance(each, Tree | Token))
                if isinstance(key, Tree) and isinstance(value, Tree) and _source(text, key) == "type":
                    yield name, _source(text, value)


def _source(text: str, tree: Tree[Any]) -> str:
    return text[tree.meta.start_pos : tree.meta.end_pos].strip()
