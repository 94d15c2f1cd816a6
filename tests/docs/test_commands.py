"""The commands on the pages exist with their options, and the variables of deployments are those of the examples."""

from __future__ import annotations

import json
import re
import shlex

import click
import pytest

from taskq_cloud.celery.bin.celery import celery
from taskq_cloud.cli import COMMANDS, main
from tests.docs.samples import DOCS, README

EXAMPLES = DOCS.parent / "infra" / "terraform" / "examples"
_TYPED = re.compile(r"^(?: *\$ | {4})(?:[A-Z]+=\$\()?(taskq (?!ENDS).+?)\)?$", re.MULTILINE)
_VARIABLE = re.compile(r'^variable "(\w+)" \{(.*?)^\}', re.MULTILINE | re.DOTALL)


def typed() -> list[tuple[str, str]]:
    """Each command on a page, after the name of its page."""
    pages = [*sorted(DOCS.glob("*.md")), DOCS / README]
    return [(page.name, command) for page in pages for command in _TYPED.findall(page.read_text(encoding="utf-8"))]


def test_commands_are_found_on_many_pages() -> None:
    assert len({page for page, _ in typed()}) >= 10


@pytest.mark.parametrize(("page", "line"), [pytest.param(*each, id=f"{each[0]}-{i}") for i, each in enumerate(typed())])
def test_command_on_page_exists_with_its_options(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    words = words[: next((i for i, word in enumerate(words) if word[0] in "|>&2;" or word == "..."), len(words))]
    (name,) = [word for word in words if word in COMMANDS][:1]
    command = main.get_command(click.Context(main), name)
    assert command is not None
    parameters = [*command.params]
    if name == "celery":  # whose options are those of Celery's program and of its command
        inner = next(word for word in words[words.index(name) :] if word in celery.commands)
        parameters += [*celery.params, *celery.commands[inner].params]
    known = {option for each in parameters for option in each.opts}
    assert {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)} <= known, page


@pytest.mark.parametrize(("page", "example"), [("deploy-aws.md", "complete"), ("deploy-gcp.md", "gcp")])
def test_variables_of_deployment_are_those_of_the_example(page: str, example: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    (written,) = re.findall(r"auto\.tfvars\.json <<END\n(.*?)^END$", text, re.MULTILINE | re.DOTALL)
    given = set(json.loads(re.sub(r"\$\(.*?\)|\$SUBNETS", "[]", written).replace('"user:[]"', '""')))
    variables = dict(_VARIABLE.findall((EXAMPLES / example / "variables.tf").read_text(encoding="utf-8")))
    assert given <= variables.keys()
    assert {name for name, body in variables.items() if "\n  default " not in body} <= given
    assert "deletion_protection" in variables  # the page sets it to undo the deployment


def test_navigation_of_site_has_every_page() -> None:
    navigation = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    assert sorted(re.findall(r"- ([\w-]+\.md)$", navigation, re.MULTILINE)) == sorted(p.name for p in DOCS.glob("*.md"))
