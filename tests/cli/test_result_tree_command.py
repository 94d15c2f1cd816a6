"""``taskq result --tree``: each format, the live drawing in a terminal, and errors."""

from __future__ import annotations

import codecs
import itertools
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from taskq_cloud import TaskQ, chain, group
from taskq_cloud.bootstrap.loading import find_app
from taskq_cloud.cli.workflow_tree import dot, svg, text
from taskq_cloud.cli.workflow_tree.item import Item
from tests.cli.conftest import TaskQCommand

WAIT_SECONDS = 60


def work(taskq: TaskQCommand, shop: str) -> None:
    result = taskq("worker", "-A", shop, "--pool", "solo", "--burst", "-q", "-l", "critical")
    assert result.exit_code == 0, result.stderr


def sent(shop: str, members: int = 2) -> tuple[TaskQ, Any]:
    app = find_app(shop)
    add, fail = app.tasks[f"{shop}.add"], app.tasks[f"{shop}.fail"]
    header = group([*(add.s(number) for number in range(members)), fail.si("<bad>\x1b[2J")])
    return app, chain(add.s(1, 1), header, add.s(1)).delay()


def test_tree_shows_states_before_and_after_the_run(taskq: TaskQCommand, shop: str) -> None:
    _, result = sent(shop)
    before = taskq("-A", shop, "result", "--tree", result.id)
    assert before.exit_code == 2
    assert before.stdout.splitlines() == [
        f"workflow  {result.id}  0 of 5 ended (0 %): PENDING 5",
        f"├─ PENDING  {shop}.add  {result.parent.parent.id}",
        f"├─ group of 3  {result.parent.id}  PENDING 3",
        f"│  ├─ PENDING  {shop}.add  {result.parent[0].id}",
        f"│  ├─ PENDING  {shop}.add  {result.parent[1].id}",
        f"│  └─ PENDING  {shop}.fail  {result.parent[2].id}",
        f"└─ PENDING  {shop}.add  {result.id}",
    ]
    work(taskq, shop)
    after = taskq("-A", shop, "result", "--tree", result.id)
    assert after.exit_code == 1
    lines = after.stdout.splitlines()
    assert lines[0].endswith("5 of 5 ended (100 %): SUCCESS 3, FAILURE 2")
    assert re.search(r"FAILURE  \S+\.fail  \S+  ended [\d-]+ [\d:]+Z, ValueError: <bad> \[2J$", lines[5])
    assert "ChordError: Dependency" in lines[6]
    assert "\x1b" not in after.stdout


def test_tree_shows_start_times_with_extended_results(
    taskq: TaskQCommand, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKQ_RESULT_EXTENDED", "true")
    _, result = sent(shop)
    work(taskq, shop)
    assert re.search(r"began [\d-]+ [\d:]+Z, ended [\d-]+ [\d:]+Z, took \d\.\d\d s", taskq(
        "-A", shop, "result", "--tree", result.id
    ).stdout)  # fmt: skip


def test_tree_summarises_a_large_group(taskq: TaskQCommand, shop: str) -> None:
    _, result = sent(shop, 40)
    work(taskq, shop)
    lines = taskq("-A", shop, "result", "--tree", result.id).stdout.splitlines()
    assert [line[:40] for line in lines[2:5]] == [
        f"├─ group of 41  {result.parent.id}  "[:40],
        f"│  ├─ SUCCESS  40 x {shop}.add"[:40],
        f"│  └─ FAILURE  {shop}.fail  {result.parent[40].id}"[:40],
    ]
    whole = json.loads(taskq("-A", shop, "result", "--tree", "--json", result.id).stdout)
    assert len(whole["stages"][1]["members"]) == 41


def test_json_tree_holds_states_and_errors(taskq: TaskQCommand, shop: str) -> None:
    _, result = sent(shop)
    work(taskq, shop)
    answer = json.loads(taskq("-A", shop, "result", "--tree", "--format", "json", result.id).stdout)
    assert (answer["id"], answer["ended"], answer["progress"]["states"]) == (
        result.id,
        True,
        {"SUCCESS": 3, "FAILURE": 2},
    )
    first, header, _ = answer["stages"]
    assert (first["name"], first["state"], first["error"]) == (f"{shop}.add", "SUCCESS", None)
    assert header["members"][2][0]["error"] == "ValueError: <bad>\x1b[2J"


STATEMENT = re.compile(r'  (rankdir="LR"|(node|n\d+) \[(\w+="(?:[^"\\]|\\.)*"(?:, )?)+\]|n\d+ -> n\d+)')


def test_dot_tree_has_valid_statements_and_the_edges_of_the_workflow(taskq: TaskQCommand, shop: str) -> None:
    _, result = sent(shop)
    head, *statements, tail = taskq("-A", shop, "result", "--tree", "--format", "dot", result.id).stdout.splitlines()
    assert (head, tail) == ("digraph workflow {", "}")
    assert all(STATEMENT.fullmatch(each) for each in statements)
    edges = {each.strip() for each in statements if "->" in each}
    # The first task, the group, its three members, the last task.
    assert edges == {"n0 -> n1", "n1 -> n2", "n1 -> n3", "n1 -> n4", "n2 -> n5", "n3 -> n5", "n4 -> n5"}
    assert dot.write(Item(label="", children=(Item(label='a"b\\', state="SUCCESS"),))).count('\\"') == 1


def test_svg_texts_do_not_overlap(taskq: TaskQCommand, shop: str) -> None:
    _, result = sent(shop)
    work(taskq, shop)
    written = taskq("-A", shop, "result", "--tree", "--format", "svg", result.id).stdout
    root = ET.fromstring(written)
    texts = list(root.iter("{http://www.w3.org/2000/svg}text"))
    assert {"SUCCESS", "FAILURE", f"{shop}.add", "workflow"} <= {each.text for each in texts}
    rows: dict[float, list[tuple[float, float]]] = {}
    for each in texts:
        begin = float(each.attrib["x"])
        rows.setdefault(float(each.attrib["y"]), []).append((begin, begin + svg._width(each.text or "")))
    for spans in rows.values():
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))
        assert spans[-1][1] <= float(root.attrib["width"])
    heights = sorted(rows)
    assert all(below - above >= 16 for above, below in itertools.pairwise(heights))
    assert heights[-1] < float(root.attrib["height"])


def test_text_tree_uses_ascii_where_the_encoding_lacks_box_drawing_characters() -> None:
    item = Item(label="workflow", children=(Item(label="a", state="SUCCESS"), Item(label="b", state="PENDING")))
    assert text.lines_of(item, encoding="ascii")[2].startswith("`- ")
    (_, cut, _) = text.lines_of(item, width=14)
    assert cut.endswith("  a")
    assert "\x1b[32m" in cut


@pytest.mark.parametrize("form", [[], ["--format", "svg"]], ids=["text", "svg"])
def test_tree_of_an_unknown_id_exits_with_2(taskq: TaskQCommand, shop: str, form: list[str]) -> None:
    result = taskq("-A", shop, "result", "--tree", "nobody", *form)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "has no record of this task" in result.stderr
    assert taskq("-A", shop, "result", "--tree", "--wait", "0.01", "nobody").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--watch"], "--watch and --format need --tree"),
        (["--format", "dot"], "--watch and --format need --tree"),
        (["--tree", "-t"], "--traceback can't be combined with --tree"),
        (["--tree", "--json", "--format", "svg"], "--json can't be combined with --format"),
    ],
    ids=["watch", "format", "traceback", "formats"],
)
def test_contradicting_options_are_a_usage_error(
    taskq: TaskQCommand, shop: str, arguments: list[str], says: str
) -> None:
    result = taskq("-A", shop, "result", "x", *arguments)
    assert result.exit_code == 2
    assert says in result.stderr


def test_tree_without_result_store_is_an_error(taskq: TaskQCommand, shop: str) -> None:
    result = taskq("-A", shop, "--results", "disabled://", "result", "--tree", "x")
    assert result.exit_code == 1
    assert "the application stores no results" in result.stderr


def test_tree_of_a_single_task_has_one_task(taskq: TaskQCommand, shop: str) -> None:
    result = find_app(shop).tasks[f"{shop}.add"].delay(1, 1)
    work(taskq, shop)
    answer = taskq("-A", shop, "result", "--tree", "--watch", result.id)
    assert answer.exit_code == 0
    assert answer.stdout.count("SUCCESS") == 2


class Terminal:
    """A ``taskq`` process in a pseudo-terminal."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        command = [str(Path(sys.executable).with_name("taskq")), *arguments]
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
        self.process = subprocess.Popen(
            command, cwd=directory, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end within a character
        self.shown = ""

    def read_until(self, done: Callable[[str], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not done(self.shown):
            assert time.monotonic() < deadline, self.shown
            if not select.select([self._ours], [], [], 1)[0]:
                continue
            try:
                self.shown += self._decoder.decode(os.read(self._ours, 65536))
            except OSError:  # Linux reports the closed other end like this
                assert done(self.shown), self.shown

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)


def test_watched_tree_is_redrawn_in_a_terminal_until_the_workflow_has_ended(tmp_path: Path, shop: str) -> None:
    _, result = sent(shop)
    terminal = Terminal(tmp_path, "-A", shop, "result", "--tree", "--watch", result.id)
    try:
        terminal.read_until(lambda shown: "PENDING 5" in shown)
        worker = [str(Path(sys.executable).with_name("taskq")), "-A", shop, "worker", "--pool", "solo", "--burst"]
        subprocess.run(worker, cwd=tmp_path, capture_output=True, check=True, timeout=WAIT_SECONDS)
        terminal.read_until(lambda shown: "5 of 5 ended" in shown and "ChordError" in shown)
        assert terminal.process.wait(WAIT_SECONDS) == 1
        # The cursor goes up seven lines and clears them, so the last drawing replaces the first one.
        last = terminal.shown.rpartition("\x1b[7F\x1b[J")[2]
        assert last.startswith(f"workflow  {result.id}  5 of 5 ended")
        assert "\x1b[31m" in last
    finally:
        terminal.close()
