"""The site is built without a warning, has every page, renders tables and code, and loads nothing from other hosts."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.samples import DOCS
from tests.test_public_names import PUBLIC

pytestmark = pytest.mark.slow

ROOT = DOCS.parent
PAGES = sorted(path.stem for path in DOCS.glob("*.md"))
LOADS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)


def _require_mkdocs() -> None:
    if find_spec("material") is None or find_spec("mkdocstrings") is None:
        reason = "mkdocs-material or mkdocstrings is not installed: pip install --group docs"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def build(project: Path, site: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", project / "mkdocs.yml", "-d", site],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", **environment},
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The built site; all processes of a run share one."""
    _require_mkdocs()
    if worker_id == "master":
        return _built(tmp_path_factory.mktemp("site"))
    shared = tmp_path_factory.getbasetemp().parent / "site"
    done = shared.with_suffix(".done")
    with shared.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the others wait until the first one has built it
        if not done.exists():
            _built(shared)
            done.touch()
    return shared


def _built(site: Path) -> Path:
    built = build(ROOT, site)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr, built.stderr
    return site


class Page(HTMLParser):
    """The addresses that a page loads, the tags and text of its article, and the text and tags in table cells."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.cells = ""
        self._inside: list[str] = []
        self._in_cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in LOADS and values.get("rel") != "canonical" and (found := values.get(LOADS[tag])):
            self.loads.append(found)
        if tag in ("article", "code", "pre"):
            self._inside.append(tag)
        if tag in ("td", "th"):
            self._in_cell = True
        if "article" in self._inside:
            self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._inside == ["article"]:
            self.text += data
        if self._in_cell:
            self.cells += data


# The generator adds tables and code from docstrings to pages with ":::".
@pytest.mark.parametrize("name", [name for name in PAGES if "\n::: " not in (DOCS / f"{name}.md").read_text("utf-8")])
def test_page_renders_its_tables_and_code(name: str, site: Path) -> None:
    source = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    html = (site / f"{name}.html").read_text(encoding="utf-8")
    page = Page(html)
    prose = FENCE.sub("", source)
    assert page.tags.count("table") == len(re.findall(r"^ *\|---", prose, re.MULTILINE))
    blocks = len(FENCE.findall(source)) + len(re.findall(r"(?:^|\n)\n    (?=\S)", prose))
    assert page.tags.count("pre") <= blocks
    assert page.tags.count("pre") >= len(FENCE.findall(source))
    for left_over in ("```", "|---", "](", "**", "\n- "):
        assert left_over not in page.text, page.text.partition(left_over)[0][-200:]


@pytest.mark.parametrize("module", PUBLIC)
def test_api_page_describes_every_public_name(module: str, site: Path) -> None:
    html = (site / "api.html").read_text(encoding="utf-8")
    described = {name.rpartition(".")[2] for name in re.findall(r' id="taskq_cloud\.([\w.]+)"', html)}
    assert [name for name in PUBLIC[module].split() if name not in described] == []
    for left_over in ("```", "](", "\n::"):
        assert left_over not in Page(html).text


@pytest.mark.parametrize("name", PAGES)
def test_table_cells_show_no_escaped_bar(name: str, site: Path) -> None:
    assert "\\|" not in Page((site / f"{name}.html").read_text(encoding="utf-8")).cells


@pytest.mark.parametrize("name", PAGES)
def test_code_in_table_cells_is_broken_between_words_only(name: str, site: Path) -> None:
    html = (site / f"{name}.html").read_text(encoding="utf-8")
    cells = re.findall(r"<t[dh][ >].*?</t[dh]>", html, re.DOTALL)
    assert [code for cell in cells for code in re.findall(r"<code>[^<]* [^<]*</code>", cell)] == []
    styles = (site / "site.css").read_text(encoding="utf-8")
    (unbroken,) = re.findall(r"\.md-typeset td code,[^}]*\}", styles)
    assert "white-space: nowrap" in unbroken
    assert 'href="site.css"' in html


NAVIGATION = re.findall(r"- ([\w-]+)\.md$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", NAVIGATION)
def test_page_links_to_its_neighbours_and_to_the_repository(name: str, site: Path) -> None:
    html = (site / f"{name}.html").read_text(encoding="utf-8")
    linked = dict(re.findall(r'href="([\w-]+)\.html" class="md-footer__link md-footer__link--(prev|next)"', html))
    at = NAVIGATION.index(name)
    neighbours = {NAVIGATION[at - 1]: "prev"} if at > 0 else {}
    assert linked == neighbours | dict.fromkeys(NAVIGATION[at + 1 : at + 2], "next")
    assert re.search(r'<a href="[^"]+" title="[^"]*" class="md-source"', html)


def test_links_by_file_name_show_the_title_of_the_page(site: Path) -> None:
    html = (site / "delivery.html").read_text(encoding="utf-8")
    assert '<a href="operations.html#outages">Watching an application</a>' in html
    assert not re.search(r"<a [^>]*>[\w-]+\.md</a>", html)


def test_pages_named_in_docstrings_are_links(site: Path) -> None:
    html = (site / "api.html").read_text(encoding="utf-8")
    assert 'see <a href="calling.html">Calling tasks</a>' in html
    assert "docs/" not in Page(html).text
    assert "python -m tests.docs.cli &gt; docs/cli.md" in (site / "cli.html").read_text(encoding="utf-8")


def test_pages_link_to_the_repository(site: Path) -> None:
    check_repository(site, "https://example.com/taskq-cloud")


def test_environment_sets_the_repository(tmp_path: Path) -> None:
    _require_mkdocs()
    built = build(ROOT, tmp_path, TASKQ_REPO_URL="https://git.example/q")
    assert built.returncode == 0, built.stderr
    check_repository(tmp_path, "https://git.example/q")


def check_repository(site: Path, address: str) -> None:
    html = (site / "index.html").read_text(encoding="utf-8")
    assert f'<a href="{address}"' in html
    assert "/edit/" not in html


@pytest.mark.parametrize("name", [*PAGES, "404"])
def test_page_loads_nothing_from_other_hosts(name: str, site: Path) -> None:
    page = Page((site / f"{name}.html").read_text(encoding="utf-8"))
    assert page.loads
    assert [each for each in page.loads if re.match(r"(https?:)?//", each)] == []


def test_styles_load_nothing_from_other_hosts(site: Path) -> None:
    styles = [*site.rglob("*.css")]
    assert styles
    for style in styles:
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", style.read_text(encoding="utf-8")), style


FAULTS = {
    "page": ("[a page](nowhere.md)", "nowhere.md"),
    "heading": ("[a heading](tasks.md#nothing-like-it)", "nothing-like-it"),
    "file outside": ("[a file](../README.md)", "../README.md"),
}
"""Kind -> a link that leads nowhere, and the part of it that the error names."""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """The end of a build with every fault in ``FAULTS``, and a page that no other page leads to."""
    _require_mkdocs()
    project = tmp_path_factory.mktemp("faulty")
    shutil.copytree(DOCS, project / "docs")
    shutil.copy(ROOT / "mkdocs.yml", project)
    with (project / "docs" / "calling.md").open("a", encoding="utf-8") as page:
        page.writelines(f"\n{link}\n" for link, _ in FAULTS.values())
    (project / "docs" / "lost.md").write_text("# Lost\n", encoding="utf-8")
    return build(project, project / "site")


@pytest.mark.parametrize("said", [said for _, said in FAULTS.values()], ids=FAULTS)
def test_link_that_leads_nowhere_is_an_error(said: str, faulty: subprocess.CompletedProcess[str]) -> None:
    assert faulty.returncode == 1
    assert re.search(rf"^(WARNING|ERROR).*{re.escape(said)}", faulty.stderr, re.MULTILINE), faulty.stderr


def test_page_outside_the_navigation_is_an_error(faulty: subprocess.CompletedProcess[str]) -> None:
    assert faulty.returncode == 1
    assert re.search(r"^(WARNING|ERROR)(.*\n)?.*lost\.md", faulty.stderr, re.MULTILINE), faulty.stderr
