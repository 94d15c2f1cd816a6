"""The Python blocks of docs/ run, and print what the pages say."""

from pathlib import Path

import pytest

from tests.docs.samples import DOCS, Block, assert_prints, blocks_of, open_page

FRAGMENTS = {"design.md"}  # its blocks show lines out of the middle of functions
PAGES = sorted(page.name for page in DOCS.glob("*.md") if page.name not in FRAGMENTS)
ALL_BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library_loggers: None) -> None:
    """SQLite's files, a .env and the variables of whoever runs the tests are not the page's."""
    monkeypatch.chdir(tmp_path)
    for name in ("TASKQ_BROKER", "TASKQ_BROKER_URL", "TASKQ_RESULTS", "TASKQ_RESULT_BACKEND"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", [page for page in PAGES if any(block.mark == "" for block in blocks_of(page))])
def test_a_pages_blocks_run_one_after_the_other(name: str) -> None:
    with open_page() as page:
        for block in blocks_of(name):
            if block.mark == "":
                assert_prints(block, page.run(block))


@pytest.mark.parametrize("block", [pytest.param(b, id=b.name) for b in ALL_BLOCKS if b.mark == "aws"])
def test_a_block_that_needs_aws_runs_by_itself(block: Block, aws_environment: dict[str, str]) -> None:
    with open_page() as page:
        assert_prints(block, page.run(block))


@pytest.mark.parametrize("block", [pytest.param(b, id=b.name) for b in ALL_BLOCKS])
def test_a_blocks_mark_is_one_of_those_there_are(block: Block) -> None:
    assert block.mark in {"", "aws", "file", "notest"}
    compile(block.code, block.name, "exec", 0x2000)  # ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
