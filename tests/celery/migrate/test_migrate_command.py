"""``taskq migrate``: what it finds, its exit codes, and a project that runs after ``--write``."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.brokers.registry import BROKERS
from taskq_cloud.cli.migrate import services
from taskq_cloud.cli.migrate.codes import CODES, Severity
from taskq_cloud.cli.migrate.configuration import import_application
from taskq_cloud.errors import ImproperlyConfigured
from tests.celery.migrate.conftest import Migrate

Copy = Callable[[str], Path]


def found_in(result: Any) -> list[tuple[str, int, str, str]]:
    document = json.loads(result.stdout)
    return [(each["file"], each["line"], each["code"], each["subject"]) for each in document["findings"]]


def test_project_that_needs_little(copy_of: Copy, migrate: Migrate) -> None:
    result = migrate(copy_of("shop"), "--json", imports=True)
    assert result.exit_code == 1, result.output
    assert found_in(result) == [
        ("Procfile", 1, "M206", "worker: celery -A shop worker -l INFO -Q celery,mail"),
        ("requirements.txt", 1, "M207", "celery[sqs]==5.7.0"),
        ("shop/celeryconfig.py", 9, "M102", "broker_heartbeat_checkrate"),
    ]
    document = json.loads(result.stdout)
    assert document["unchanged"] == {
        "applications": 1,
        "calls": 2,
        "classes of tasks": 1,
        "imports": 17,
        "queues of kombu": 2,
        "settings": 8,
        "tasks": 4,
        "workflows": 2,
    }
    assert sum(document["to_write"].values()) == 15
    assert document["written"] == []


LEGACY = {
    ("legacy/app.py", 1, "M211", "gevent.monkey"),
    ("legacy/app.py", 5, "M210", "celery.worker.control.inspect_command"),
    ("legacy/app.py", 7, "M201", "celery.app.trace.build_tracer_that_is_gone"),
    ("legacy/app.py", 9, "M203", "kombu.Connection"),
    ("legacy/app.py", 10, "M217", "kombu.common.Broadcast"),
    ("legacy/app.py", 11, "M204", "billiard.Pool"),
    ("legacy/app.py", 12, "M202", "django_celery_beat"),
    ("legacy/app.py", 13, "M202", "sentry_sdk.integrations.celery.CeleryIntegration"),
    ("legacy/app.py", 15, "M111", "broker_url"),
    ("legacy/app.py", 15, "M111", "result_backend"),
    ("legacy/app.py", 16, "M102", "broker_pool_limit"),
    ("legacy/app.py", 16, "M213", "broker_host"),
    ("legacy/app.py", 17, "M205", "result_backend"),
    ("legacy/app.py", 20, "M208", "Feed"),
    ("legacy/app.py", 24, "M103", "Probe"),
    ("legacy/app.py", 28, "M209", "MyRequest"),
    ("legacy/app.py", 32, "M104", "MyScheduler"),
    ("legacy/app.py", 36, "M214", "MyBackend"),
    ("legacy/app.py", 41, "M209", "Base.Request"),
    ("legacy/app.py", 50, "M101", "task legacy.app.fast"),
    ("legacy/app.py", 51, "M105", "elsewhere.task"),
    ("legacy/app.py", 55, "M210", "app.control.rate_limit"),
    ("legacy/app.py", 56, "M212", "app.control.revoke"),
    ("legacy/app.py", 57, "M107", "app.control.revoke"),
    ("legacy/app.py", 58, "M210", "app.control.inspect"),
    ("legacy/app.py", 62, "M106", "app.events.Receiver"),
    ("legacy/app.py", 67, "M110", "legacy.app.locked: once"),
    ("legacy/broken.py", 1, "M215", "Missing parentheses in call to 'print'. Did you mean print(...)?"),
}


def test_project_that_needs_much(copy_of: Copy, migrate: Migrate) -> None:
    result = migrate(copy_of("legacy"), "--json")
    assert result.exit_code == 1
    assert set(found_in(result)) == LEGACY


def test_findings_stay_after_the_imports_were_changed(copy_of: Copy, migrate: Migrate) -> None:
    project = copy_of("legacy")
    assert migrate(project, "--write").exit_code == 1
    assert {each[:3] for each in found_in(migrate(project, "--json"))} == {each[:3] for each in LEGACY}


def test_errors_of_kombu_are_found_and_changed(tmp_path: Path, migrate: Migrate) -> None:
    file = tmp_path / "calls.py"
    file.write_text(
        "from kombu.exceptions import OperationalError, HttpError\nimport kombu.exceptions\nimport kombu\n"
        "print(kombu.exceptions.OperationalError)\n"
    )
    result = migrate(tmp_path, "--write", "--json")
    assert found_in(result) == [
        ("calls.py", 1, "M109", "kombu.exceptions.OperationalError"),
        ("calls.py", 1, "M203", "kombu.exceptions.HttpError"),
        ("calls.py", 2, "M203", "kombu.exceptions"),
        ("calls.py", 4, "M203", "kombu.exceptions.OperationalError"),
    ]
    assert file.read_text().splitlines()[:2] == [
        "from kombu.exceptions import HttpError",
        "from taskq_cloud.celery.exceptions import OperationalError",
    ]


def test_report_names_file_line_code_and_way_out(copy_of: Copy, migrate: Migrate) -> None:
    output = migrate(copy_of("legacy")).output
    assert "  legacy/app.py:56: M212 app.control.revoke\n" in output
    assert f"    -> {CODES['M212'].remedy}\n" in output
    assert output.splitlines()[-1] == "Findings: 10 about the meaning, 18 for a hand"


def test_project_without_findings_ends_with_0(tmp_path: Path, migrate: Migrate) -> None:
    (tmp_path / "tasks.py").write_text(
        "from celery import Celery\napp = Celery('small', broker='sqs://')\n\n"
        "@app.task(acks_late=True)\ndef add(x, y):\n    return x + y\n"
    )
    result = migrate(tmp_path, imports=True)
    assert result.exit_code == 0, result.output
    assert "To change with --write: imports and names 1, files 1" in result.output


def test_application_that_cannot_be_imported_is_a_finding(tmp_path: Path, migrate: Migrate) -> None:
    (tmp_path / "tasks.py").write_text("from celery import Celery\nimport no_such_module\napp = Celery('x')\n")
    result = migrate(tmp_path, "--json", imports=True)
    assert found_in(result) == [("tasks.py", 0, "M216", "tasks:app")]
    assert "No module named 'no_such_module'" in result.stdout


def test_wrong_usage_ends_with_2(tmp_path: Path, migrate: Migrate) -> None:
    assert migrate(tmp_path / "nowhere").exit_code == 2


def test_import_takes_this_package_in_the_place_of_celery(copy_of: Copy) -> None:
    found = import_application("shop.celery:app", copy_of("shop"))
    assert (found["error"], found["tasks"]) == (None, 4)
    assert {"beat_schedule", "broker_url"} <= set(found["settings"])


@pytest.mark.parametrize(
    ("name", "line", "code"),
    [
        ("Dockerfile", 'CMD ["celery", "-A", "shop", "worker"]', "M206"),
        ("compose.yaml", "    command: celery --app shop beat", "M206"),
        ("shop.service", "ExecStart=/srv/venv/bin/celery -A shop worker", "M206"),
        ("run.sh", "taskq celery -A shop worker", None),
        ("run.sh", "# celery -A shop worker", None),
        ("compose.yaml", 'command: ["taskq", "celery", "-A", "shop", "worker"]', None),
        ("pyproject.toml", '    "celery[redis]>=5",', "M207"),
        ("requirements-dev.txt", "celery", "M207"),
        ("requirements.txt", "celery-types", None),
        ("requirements.txt", "taskq-cloud[aws]\ncelery", None),
    ],
)
def test_command_lines_and_requirements(
    tmp_path: Path, migrate: Migrate, name: str, line: str, code: str | None
) -> None:
    (tmp_path / name).write_text(f"{line}\n")
    assert [each[2] for each in found_in(migrate(tmp_path, "--json"))] == ([code] if code else [])


SETTINGS = {
    "app.conf.broker_url = 'redis://x'": "M111",
    "app.conf['result_backend'] = 'rpc://'": "M111",
    "app.conf.update({'broker_url': 'sqs://'})": None,
    "app.conf.update({'broker_url': 'kafka://x'})": "M205",
    "BROKER_URL = 'amqp://guest@localhost//'": "M111",
    "BROKER_URL = 'redis://a;redis://b'": "M111",
    "BROKER_URL = 'sqs://;redis://b'": "M205",
    "CELERY_BROKER_URL = os.environ.get('BROKER', 'redis://localhost')": "M111",
    "CELERY_BROKER_URL = f'redis://{host}/0'": "M111",
    "CELERY_BROKER_TRANSPORT_OPTIONS = {'visibility_timeout': 60, 'global_keyprefix': 'shop'}": None,
    "CELERY_BROKER_TRANSPORT_OPTIONS = {'visibility_timeout': 60, 'socket_timeout': 3}": "M102",
    "CELERY_RESULT_BACKEND = 'amqp://'": "M205",
    "CELERY_RESULT_BACKEND = 'consul://x'": "M205",
    "CELERY_RESULT_BACKEND = 'postgresql://x/shop'": None,
    "CELERY_RESULT_BACKEND = 'elasticsearch://x/shop'": None,
    "CELERY_RESULT_BACKEND = 'filesystem:///var/results'": None,
    **{
        f"CELERY_RESULT_BACKEND = {url!r}": "M111"
        for url in (
            "cache+memcached://x",
            "cache+memory://",
            "db+mysql://x/shop",
            "django-cache",
            "django-db",
            "mongodb+srv://x/shop",
            "riak://x",
            "sentinel://x",
        )
    },
    "CELERY_RESULT_BACKEND = 's3'": "M205",
    "CELERY_RESULT_BACKEND = 's3'\nCELERY_S3_BUCKET = os.environ['BUCKET']": None,
    "CELERY_RESULT_BACKEND = 'database'\nCELERY_DATABASE_URL = os.environ['DATABASE']": "M111",
    "CELERY_TASK_SERIALIZER = 'json'": None,
    "CELERY_BROKER_HEARTBEAT = 10": None,
    "CELERY_BROKER_POOL_LIMIT = 10": "M102",
    "TIMEZONE = 'UTC'\nbroker_url = 'redis://not-a-setting-here'": None,
    "CELERY_BEAT_SCHEDULER = 'django_celery_beat.schedulers:DatabaseScheduler'": "M202",
    "INSTALLED_APPS = ['django_celery_results']": "M202",
}


@pytest.mark.parametrize("text", SETTINGS)
def test_settings_are_found_where_projects_have_them(tmp_path: Path, migrate: Migrate, text: str) -> None:
    (tmp_path / "settings.py").write_text(f"{text}\n")
    code = SETTINGS[text]
    assert [each[2] for each in found_in(migrate(tmp_path, "--json"))] == ([code] if code else [])


NOTES = {
    "broker_url = 'redis://x'": ("Celery's layout", "appendonly"),
    "broker_url = 'amqps://x'": ("task_default_queue_type", ".fifo"),
    "result_backend = 'rpc://'": ("Chords", "docs/rabbitmq.md#results-as-replies"),
    "result_backend = 'redis://x'": ("taskq+", "docs/migrating-from-celery.md#workflows"),
    "broker_transport_options = {'socket_timeout': 3, 'max_retries': 1, 'sep': ':'}": (
        "max_retries, socket_timeout have no effect",
    ),
}


@pytest.mark.parametrize("text", NOTES)
def test_note_of_a_broker_and_a_store_says_what_differs(tmp_path: Path, migrate: Migrate, text: str) -> None:
    (tmp_path / "celeryconfig.py").write_text(f"{text}\n")
    result = migrate(tmp_path, "--json")
    [finding] = json.loads(result.stdout)["findings"]
    assert finding["severity"] == "meaning"
    assert result.exit_code == 0
    assert all(part in finding["sentence"] for part in NOTES[text])


def test_notes_name_sections_of_pages() -> None:
    text = Path(services.__file__).read_text(encoding="utf-8")
    for page, anchor in re.findall(r"docs/([a-z-]+\.md)(?:#([a-z-]+))?", text):
        headings = re.findall(r"^#+ (.+)$", (Path("docs") / page).read_text(encoding="utf-8"), re.MULTILINE)
        anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors


@pytest.mark.parametrize("url", ["redis://x", "redis://x?layout=celery", "amqp://x"])
def test_options_without_effect_can_stay_in_the_settings(url: str) -> None:
    plain, accepted = BROKERS.open(url, {}), 0
    for name in services.WITHOUT_EFFECT:
        with suppress(ImproperlyConfigured):  # the option is another broker's
            assert BROKERS.open(url, {name: "sorted"}).services == plain.services
            accepted += 1
    assert accepted > 5


def test_project_runs_after_the_imports_were_changed(copy_of: Copy, migrate: Migrate) -> None:
    project = copy_of("shop")
    assert "Changed: imports and names 15, files 7" in migrate(project, "--write").output
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TASKQ_", "CELERY_"))}
    where: dict[str, Any] = {"cwd": project, "env": {**kept, "PYTHONPATH": str(Path.cwd())}}
    line = ["-m", "taskq_cloud", "celery", "-A", "shop", "worker", "-l", "INFO", "-c", "2", "-Q", "celery,mail"]
    with (project / "output").open("w") as output:
        worker = subprocess.Popen([sys.executable, *line], stdout=output, stderr=output, **where)
    try:
        ran = subprocess.run(
            [sys.executable, "main.py"], capture_output=True, text=True, timeout=60, check=False, **where
        )
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait()
    assert ran.stdout == "600 Your order to ada@example.com\n", ran.stderr
    assert "worker is ready" in (project / "output").read_text()


def test_documentation_has_every_code() -> None:
    page = Path("docs/migrating-from-celery.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (M\d{3}) \| (\w+) \| (.+?) \| (.+?) \|$", page, re.MULTILINE)
    assert rows == [(code, kind.severity.value, kind.sentence, kind.remedy) for code, kind in CODES.items()]


def test_codes_tell_their_severity() -> None:
    assert {(code[1], kind.severity) for code, kind in CODES.items()} == {
        ("1", Severity.MEANING),
        ("2", Severity.HAND),
    }
