"""Loaders, beside Celery's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from taskq_cloud.celery import signals
from taskq_cloud.celery.exceptions import NotConfigured
from taskq_cloud.celery.loaders import base, default, get_loader_cls
from taskq_cloud.celery.loaders.app import AppLoader
from taskq_cloud.celery.utils.imports import NotAPackage
from tests.celery.configuration.comparing import compare


@pytest.fixture
def app() -> SimpleNamespace:
    return SimpleNamespace(conf=SimpleNamespace(imports=("shop_imported",), include=["shop_included"]))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with modules, as the working directory."""
    (tmp_path / "shop_config.py").write_text("task_serializer = 'yaml'\nclass Config:\n    result_expires = 3\n")
    (tmp_path / "shop_broken.py").write_text("import shop_nothing\n")
    package = tmp_path / "shop_pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "tasks.py").write_text("found = True\n")
    (package / "broken.py").write_text("import shop_nothing\n")
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    monkeypatch.delenv("CELERY_CONFIG_MODULE", raising=False)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(("shop_", "celeryconfig")):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("app", AppLoader),
        ("default", default.Loader),
        ("celery.loaders.app.AppLoader", AppLoader),
        ("celery.loaders.default:Loader", default.Loader),
        ("taskq_cloud.celery.loaders.app:AppLoader", AppLoader),
        (AppLoader, AppLoader),
    ],
)
def test_loader_is_found_by_name(name: Any, found: type) -> None:
    assert get_loader_cls(name) is found


@pytest.mark.parametrize(
    "obj",
    [
        *(
            "shop_config",
            "shop_config:Config",
            "shop_config.Config",
            "shop_nothing",
            "shop_config:nothing",
            "shop_broken",
        ),
        *({"a": 1}, SimpleNamespace(a=1), {"override_backends": {"x": "y"}}),
    ],
)
@pytest.mark.parametrize("silent", [False, True])
def test_configuration_of_an_object_has_celerys_outcome(project: Path, obj: Any, silent: bool) -> None:
    def read(module: Any) -> Any:
        loader = module.AppLoader(None)
        answer = loader.config_from_object(obj, silent=silent)
        conf = loader.conf
        return (
            answer,
            conf and [conf.get(key) for key in ("a", "task_serializer", "result_expires")],
            loader.override_backends,
        )

    compare("loaders.app", read)


@pytest.mark.parametrize("variable", [None, "", "shop_config", "shop_config.py", "shop_nothing", "shop_pack.tasks.x"])
@pytest.mark.parametrize("kind", ["app", "default"])
def test_configuration_of_a_variable_has_celerys_outcome(
    project: Path, variable: str | None, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is not None:
        monkeypatch.setenv("CELERY_CONFIG_MODULE", variable)

    def read(module: Any) -> Any:
        loader = (module.AppLoader if kind == "app" else module.Loader)(None)
        conf = loader.conf
        return conf and (conf.get("task_serializer"), conf.get("nothing")), loader.configured

    compare(f"loaders.{kind}", read)


def test_missing_configuration_is_an_error_if_asked_for(project: Path) -> None:
    compare("loaders.default", lambda module: module.Loader(None).read_configuration(fail_silently=False))


def test_missing_configuration_is_warned_of_if_asked_for(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default, "C_WNOCONF", True)
    with pytest.warns(NotConfigured, match="No celeryconfig module found"):
        default.Loader(None).read_configuration()


def test_name_of_a_file_is_refused_with_the_module_name(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "shop_config.py")
    with pytest.raises(NotAPackage, match="Did you mean 'shop_config'"):
        default.Loader(None).read_configuration()


@pytest.mark.parametrize(
    "arguments",
    [
        *(["worker.prefetch_multiplier=3"], ["worker_concurrency=auto"], [".foo=(int)3"], ["_foo=(string)a=b"]),
        *(['task_annotations=(dict){"a": 1}'], ["broker.url=memory://", "task.always_eager=yes"], ["nonsense"]),
        *(["worker_prefetch_multiplier=many"], ["nothing.at.all=1"], ["BEAT.SCHEDULE=(json){}"], ["x_y=(list)[1]"]),
        *(["result_expires=3.5"], ["timezone=UTC"], ["task_queues=(tuple)(1)"], ["worker_pool=(nothing)x"]),
    ],
)
@pytest.mark.parametrize("namespace", ["celery", "worker", None])
def test_settings_of_a_command_line_have_celerys_outcome(arguments: list[str], namespace: Any) -> None:
    compare("loaders.app", lambda module: module.AppLoader(None).cmdline_config_parser(arguments, namespace))


@pytest.mark.parametrize(
    ("package", "related"),
    [
        *(("shop_pack", "tasks"), ("shop_pack", "nothing"), ("shop_pack", None), ("shop_pack", "broken")),
        *(
            ("shop_pack.Config", "tasks"),
            ("shop_nothing", "tasks"),
            ("shop_pack.apps.Config", "tasks"),
            ("shop_config", None),
        ),
    ],
)
def test_related_module_is_celerys(project: Path, package: str, related: str | None) -> None:
    sys.path.insert(0, str(project))
    try:
        compare("loaders.base", lambda module: getattr(module.find_related_module(package, related), "__name__", None))
    finally:
        sys.path.remove(str(project))


def test_discovered_modules_are_those_of_the_loader(project: Path, app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(project))
    loader = AppLoader(app)
    loader.autodiscover_tasks(["shop_pack"])
    loader.autodiscover_tasks(None)
    assert loader.task_modules == {"shop_pack.tasks"}


def test_discovery_inside_a_discovery_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_RACE_PROTECTION", True)
    assert base.autodiscover_tasks(["shop_pack"]) == ()


def test_worker_imports_modules_once(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("shop_imported", "shop_included"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    loader = AppLoader(app)
    started: list[int] = []
    monkeypatch.setattr(loader, "on_worker_init", lambda: started.append(1))
    loader.init_worker()
    loader.init_worker()
    assert started == [1]
    assert loader.task_modules == {"shop_imported", "shop_included"}
    assert [module.__name__ for module in loader.import_default_modules()] == ["shop_imported", "shop_included"]
    assert loader.default_modules == ("shop_imported", "shop_included")


def test_error_of_a_receiver_is_raised(app: Any) -> None:
    def receiver(**_kwargs: Any) -> None:
        raise KeyError("shop")

    signals.import_modules.connect(receiver, sender=app)
    try:
        with pytest.raises(KeyError, match="shop"):
            AppLoader(app).import_default_modules()
    finally:
        signals.import_modules.disconnect(receiver, sender=app)


def test_time_is_aware_only_in_utc(app: Any) -> None:
    loader = AppLoader(app)
    assert loader.now().utcoffset() == timedelta(0)
    assert loader.now(utc=False).tzinfo is None


def test_hooks_of_a_loader_do_nothing(app: Any) -> None:
    loader = AppLoader(app)
    hooks: list[Any] = [
        loader.on_process_cleanup,
        loader.on_worker_init,
        loader.on_worker_shutdown,
        loader.on_worker_process_init,
    ]
    hooks += [loader.shutdown_worker, loader.init_worker_process, partial(loader.on_task_init, "id", None)]
    assert [hook() for hook in hooks] == [None] * 7


def test_module_is_imported_from_the_working_directory(project: Path, app: Any) -> None:
    loader = AppLoader(app)
    assert loader.import_from_cwd("shop_config").task_serializer == "yaml"
    assert loader.import_task_module("shop_config").__name__ == "shop_config"
    assert loader.import_module("json").loads("1") == 1
