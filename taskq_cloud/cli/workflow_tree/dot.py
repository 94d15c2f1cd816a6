"""A workflow's drawing in DOT, the language of Graphviz."""

from __future__ import annotations

from collections.abc import Iterable

from taskq_cloud.cli.workflow_tree.item import COLOURS, OTHER_COLOUR, Item
from taskq_cloud.results.graph import quoted


def write(item: Item) -> str:
    """Return a drawing in DOT."""
    statements = ["digraph workflow {", '  rankdir="LR"', '  node [shape="box", fontname="Helvetica"]']
    _Writer(statements).write_stages(item.children, [])
    return "\n".join([*statements, "}"])


class _Writer:
    """Writes nodes and edges. Nodes are numbered because a task's id can appear twice in a drawing."""

    def __init__(self, statements: list[str]) -> None:
        self._statements = statements
        self._number = 0

    def write_stages(self, items: Iterable[Item], before: list[str]) -> list[str]:
        """Write items that run one after the other.

        Args:
            items: the items.
            before: the names of the nodes that the first item follows.

        Returns:
            The names of the nodes that the last item ends in.
        """
        for item in items:
            before = self._write(item, before)
        return before

    def _write(self, item: Item, before: list[str]) -> list[str]:
        if item.stages:
            return self.write_stages(item.children, before)
        node = f"n{self._number}"
        self._number += 1
        label = "\n".join(part for part in (item.label, item.state, item.note) if part)
        colour = quoted(COLOURS.get(item.state or "", ("", OTHER_COLOUR))[1])
        shape = "" if item.state else ', style="dashed"'
        attributes = f"label={quoted(label)}, tooltip={quoted(item.id)}, color={colour}, fontcolor={colour}{shape}"
        self._statements.append(f"  {node} [{attributes}]")
        self._statements += [f"  {each} -> {node}" for each in before]
        if item.state is not None:
            # Tasks that a task has started run side by side with the stages after it, so no stage follows them.
            for child in item.children:
                self._write(child, [node])
            return [node]
        ends = [end for child in item.children for end in self._write(child, [node])]
        return ends or [node]
