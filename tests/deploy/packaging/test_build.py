"""Tests of ``taskq package``: the contents of a package, reproducible bytes, and errors."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from taskq_cloud.cli import main
from taskq_cloud.deploy.packaging import archive, contents
from taskq_cloud.deploy.packaging import build as building
from taskq_cloud.deploy.packaging.build import Package, Plan, build
from taskq_cloud.deploy.packaging.contents import Requirements
from taskq_cloud.deploy.packaging.target import Target
from taskq_cloud.errors import ImproperlyConfigured
from tests.deploy.packaging.conftest import HERE

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[3] / "docs" / "packaging.md"


def names_in(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as file:
        return set(file.namelist())


def tops_in(path: Path) -> set[str]:
    return {name.partition("/")[0] for name in names_in(path)}


@pytest.mark.usefixtures("once_installed")
def test_function_contains_application_library_and_dependencies(make_plan: Callable[..., Plan]) -> None:
    (function,) = build(make_plan()).archives
    tops = tops_in(function.path)
    assert {"shop", "taskq_cloud", "pydantic", "pydantic_core", "pydantic_settings"} <= tops
    assert not tops & {"prices.py", ".venv", "click", "botocore", "boto3", "bin"}
    names = names_in(function.path)
    assert "shop/tasks.py" in names
    assert "shop/.env" not in names
    assert any(re.fullmatch(r"shop/__pycache__/tasks\.cpython-\d+\.pyc", name) for name in names)
    assert not {name for name in names if name.startswith(("taskq_cloud/cli/", "taskq_cloud/testing/"))}


def test_package_of_a_producer_has_nothing_but_the_application_and_the_library(make_plan: Callable[..., Plan]) -> None:
    package = build(make_plan(requirements=Requirements(producer=True)))
    (function,) = package.archives
    assert tops_in(function.path) == {"shop", "taskq_cloud", f"taskq_cloud-{metadata.version('taskq-cloud')}.dist-info"}
    assert not {
        name for name in names_in(function.path) if name.startswith(("taskq_cloud/worker/", "taskq_cloud/cli/"))
    }
    assert package.modules is not None
    assert not {name for name in package.modules if name.startswith("pydantic")}
    assert package.unzipped_bytes < 5_000_000


def test_layer_contains_everything_except_the_application(unpacked: tuple[Package, list[Path]]) -> None:
    function, layer = unpacked[0].archives
    assert tops_in(function.path) == {"shop", "prices.py", "__pycache__"}
    assert tops_in(layer.path) == {"python"}
    assert "python/taskq_cloud/lambda_function.py" in names_in(layer.path)


def test_unchanged_files_make_unchanged_bytes(
    make_plan: Callable[..., Plan], unpacked: tuple[Package, list[Path]], source: Path
) -> None:
    # pip installs the requirements of both packages: here, and once for the session.
    for path in source.rglob("*.py"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    again = build(make_plan(layer=True, include=["prices"]))
    made = [[hashlib.sha256(each.path.read_bytes()).hexdigest() for each in p.archives] for p in (unpacked[0], again)]
    assert made[0] == made[1]


def test_sizes_and_modules_are_within_documented_limits(unpacked: tuple[Package, list[Path]]) -> None:
    package = unpacked[0]
    function, layer = package.archives
    page = DOCS.read_text()

    def budget(row: str) -> int:
        (number,) = re.findall(rf"^\| {row} \| ([\d,]+)", page, re.MULTILINE)
        return int(number.replace(",", ""))

    assert layer.zipped_bytes <= budget("the layer, zipped, bytes")
    assert package.unzipped_bytes <= budget("unzipped, all together, bytes")
    assert function.zipped_bytes < 10_000
    assert package.modules is not None
    ours = [name for name in package.modules if name.partition(".")[0] == "taskq_cloud"]
    assert len(package.modules) <= budget("modules a cold start imports")
    assert len(ours) <= budget("of these, the library's own")


@pytest.mark.parametrize(
    ("line", "packaged"),
    [
        ("from taskq_cloud import TaskQ", False),
        ("from taskq_cloud.celery import Celery", True),
        ("from taskq_cloud import celery", True),
    ],
)
def test_celerys_interface_is_packaged_for_applications_that_name_it(line: str, packaged: bool, tmp_path: Path) -> None:
    application = tmp_path / "function" / "shop"
    application.mkdir(parents=True)
    (application / "tasks.py").write_text(f"{line}\n")
    contents.copy_library(tmp_path / "layer", contents.left_out(application.parent, Requirements()))
    assert (tmp_path / "layer" / "taskq_cloud" / "celery").exists() == packaged


def test_requirement_line_of_the_library_adds_only_its_extras(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("taskq-cloud[msgpack]==0.0.1  # another version\nsix\n")
    (function,) = build(make_plan(requirements=Requirements(files=[file], lines=["idna"]))).archives
    assert {"msgpack", "six.py", "idna", "taskq_cloud"} <= tops_in(function.path)


def hash_of(requirement: str, folder: Path) -> str:
    """Download a wheel, and return the line that pins it with its hash."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), requirement]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.iterdir()
    return f"{requirement} \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"


def test_requirements_with_hashes_are_installed_and_checked(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    pinned = hash_of(f"idna=={metadata.version('idna')}", tmp_path / "wheels")
    file = tmp_path / "requirements.txt"
    file.write_text(f"# made by a tool\ntaskq-cloud[msgpack]==0.0.1 \\\n    --hash=sha256:{'0' * 64}\n{pinned}\n")
    (function,) = build(make_plan(requirements=Requirements(files=[file]))).archives
    assert {"idna", "msgpack", "pydantic", "pydantic_core", "taskq_cloud"} <= tops_in(function.path)
    file.write_text(re.sub(r"sha256:\w{8}", "sha256:00000000", pinned))
    with pytest.raises(ImproperlyConfigured, match=r"[Hh]ash|HASH"):
        build(make_plan(requirements=Requirements(files=[file])))


def test_requirement_without_hash_beside_others_with_one_is_refused(
    make_plan: Callable[..., Plan], tmp_path: Path
) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(f"idna==3.10 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(ImproperlyConfigured, match=r"[Hh]ash"):
        build(make_plan(requirements=Requirements(files=[file], lines=["six"])))


def test_package_for_another_processor_and_version_has_its_wheels(
    make_plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    package = build(make_plan(target=Target("3.13" if HERE != "3.13" else "3.12", "arm64")))
    assert package.modules is None
    (core,) = [name for name in names_in(package.archives[0].path) if name.endswith("-linux-gnu.so")]
    assert "aarch64" in core


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"app": "shp.tasks:app"}, "there is no module, package, file or folder 'shp'"),
        ({"app": "shop.task:app"}, "no module 'shop.task'"),
        ({"include": ["price"]}, "'price'"),
        ({"requirements": Requirements(lines=["six==999"])}, "No matching distribution found for six==999"),
        ({"requirements": Requirements(extras=["masgpack"])}, "no extra 'masgpack'"),
        ({"requirements": Requirements(files=[Path("nowhere.txt")])}, "nowhere.txt can't be read"),
    ],
    ids=["package", "module", "include", "requirement", "extra", "file"],
)
@pytest.mark.usefixtures("once_installed")
def test_missing_input_is_named_and_nothing_is_written(
    make_plan: Callable[..., Plan], changes: dict[str, Any], text: str
) -> None:
    plan = make_plan(**changes)
    with pytest.raises(ImproperlyConfigured, match=re.escape(text)):
        build(plan)
    assert not plan.output.exists()


@pytest.mark.parametrize(
    ("link", "leads_to", "words"),
    [
        ("shop/secrets", "../../outside", "outside of the source folder"),
        ("shop/key.pem", "../../outside/key.pem", "outside of the source folder"),
        ("shop/data/key.pem", "../../../outside/key.pem", "outside of the source folder"),
        ("linked", "../outside", "outside of the source folder"),
        ("shop/itself", ".", "contains the link"),
        ("shop/all", "..", "contains the link"),
        ("shop/settings", ".env", "hidden files are not packaged"),
    ],
)
def test_symbolic_link_is_not_followed_out_of_the_source_folder(
    make_plan: Callable[..., Plan], source: Path, link: str, leads_to: str, words: str
) -> None:
    outside = source.parent / "outside"
    outside.mkdir()
    (outside / "key.pem").write_text("secret")
    (source / link).parent.mkdir(exist_ok=True)
    (source / link).symlink_to(leads_to)
    with pytest.raises(ImproperlyConfigured, match=words):
        build(make_plan(include=["linked"] if link == "linked" else []))


def test_include_does_not_reach_out_of_the_source_folder(make_plan: Callable[..., Plan], source: Path) -> None:
    (source.parent / "other.py").write_text("SECRET = 1")
    with pytest.raises(ImproperlyConfigured, match="outside of the source folder"):
        build(make_plan(include=["../other.py"]))


@pytest.mark.usefixtures("once_installed")
def test_symbolic_link_within_the_source_folder_is_packaged(make_plan: Callable[..., Plan], source: Path) -> None:
    (source / "shop" / "costs.py").symlink_to("../prices.py")
    (function,) = build(make_plan()).archives
    assert "shop/costs.py" in names_in(function.path)


@pytest.mark.usefixtures("once_installed")
def test_missing_import_of_the_application_is_named(make_plan: Callable[..., Plan], source: Path) -> None:
    (source / "shop" / "tasks.py").write_text("import prices\nimport tomato\n")
    with pytest.raises(ImproperlyConfigured, match=r"No module named 'prices'; .* --include"):
        build(make_plan())
    with pytest.raises(ImproperlyConfigured, match="No module named 'tomato'"):
        build(make_plan(include=["prices"]))


@pytest.mark.usefixtures("once_installed")
def test_packages_of_lambdas_runtime_may_be_left_out(make_plan: Callable[..., Plan], source: Path) -> None:
    tasks = source / "shop" / "tasks.py"
    tasks.write_text(f"import botocore.session\n{tasks.read_text()}")
    assert "botocore.session" in (build(make_plan()).modules or ())


@pytest.mark.usefixtures("once_installed")
def test_module_that_does_not_compile_is_named(make_plan: Callable[..., Plan], source: Path) -> None:
    (source / "shop" / "broken.py").write_text("def f(:\n")
    with pytest.raises(ImproperlyConfigured, match=r"shop/broken\.py"):
        build(make_plan())


@pytest.mark.usefixtures("once_installed")
def test_package_beyond_lambdas_size_limit_is_refused(
    make_plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "LARGEST_UNZIPPED_BYTES", 1_000_000)
    with pytest.raises(ImproperlyConfigured, match="Lambda allows 1,000,000 with all layers"):
        build(make_plan())


@pytest.mark.parametrize("arguments", [("3.10",), ("4.0",), ("three",), (HERE, "mips")], ids=str)
def test_unknown_runtime_is_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ImproperlyConfigured):
        Target(*arguments)


def test_packaged_library_has_the_installed_version(tmp_path: Path) -> None:
    contents.copy_library(tmp_path)
    (about,) = tmp_path.glob("*.dist-info")
    assert metadata.Distribution.at(about).version == metadata.version("taskq-cloud")


def test_archive_contains_no_trace_of_the_machine(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.py").write_text("a = 1\n")
    (folder / "b.so").write_bytes(b"\x7fELF")
    (folder / "a.py").chmod(0o600)
    made = archive.write(folder, tmp_path / "out" / "a.zip")
    with zipfile.ZipFile(made.path) as file:
        modes = {entry.filename: oct(entry.external_attr >> 16) for entry in file.infolist()}
        assert {entry.date_time for entry in file.infolist()} == {archive.EPOCH}
    assert modes == {"a.py": "0o100644", "b.so": "0o100755"}


@pytest.mark.usefixtures("once_installed")
def test_command_lists_archives_and_modules(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(source)
    output = tmp_path / "out"
    done = CliRunner().invoke(main, ["-A", "shop.tasks:app", "package", "--layer", "-o", str(output)])
    assert done.exit_code == 0, done.output
    assert re.search(r"function\.zip +[\d,]+ bytes, +[\d,]+ unzipped\n", done.output)
    assert re.search(r"A cold start imports \d+ modules\.", done.output)
    assert {path.name for path in output.iterdir()} == {"function.zip", "layer.zip"}


def test_command_without_application_explains_how_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASKQ_APP", raising=False)
    done = CliRunner().invoke(main, ["package"])
    assert done.exit_code == 2
    assert "TASKQ_APP" in done.output
