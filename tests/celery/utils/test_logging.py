"""Logging: each scenario runs on Celery's and on ours, and both must come to the same outcome."""

import importlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import celery
import pytest

import taskq_cloud.celery
from tests.celery.utils.loggers import loggers_as_before

BOTH = pytest.mark.parametrize("package", [celery, taskq_cloud.celery], ids=["celery", "ours"])


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    with loggers_as_before():
        yield
    for package in (celery, taskq_cloud.celery):
        _logging(package).Logging._setup = False


def _logging(package: ModuleType) -> Any:
    return importlib.import_module(f"{package.__name__}.app.log")


def _utils(package: ModuleType) -> Any:
    return importlib.import_module(f"{package.__name__}.utils.log")


def _app(package: ModuleType, **settings: Any) -> Any:
    return package.Celery("logged", set_as_current=False, changes={"worker_log_color": False, **settings})


@BOTH
def test_loggers_are_below_celerys(package: ModuleType) -> None:
    log = _utils(package)
    assert log.base_logger.name == "celery"
    assert log.get_logger("celery.worker") is log.worker_logger
    task = log.get_task_logger("proj.tasks.deep")
    assert log.logger_isa(task, log.task_logger)
    assert log.logger_isa(log.task_logger, log.base_logger)
    assert not log.logger_isa(log.base_logger, log.task_logger)
    assert log.get_logger("proj").parent is logging.root
    assert isinstance(log.get_logger("proj").handlers[0], logging.NullHandler)
    for reserved in ("celery", "celery.task"):
        with pytest.raises(RuntimeError, match=f"Logger name '{reserved}' is reserved!"):
            log.get_task_logger(reserved)


@BOTH
def test_circle_of_loggers_is_an_error(package: ModuleType) -> None:
    one, two = logging.getLogger("circle.one"), logging.getLogger("circle.two")
    one.parent, two.parent = two, one
    try:
        with pytest.raises(RuntimeError, match=r"Logger 'circle\.one' parents recursive"):
            _utils(package).logger_isa(one, logging.getLogger("three"))
    finally:
        one.parent = two.parent = logging.root


@BOTH
@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
@pytest.mark.parametrize("color", [True, False])
def test_line_has_the_colour_of_its_level(package: ModuleType, level: str, color: bool) -> None:
    record = logging.LogRecord("n", getattr(logging, level), "f", 1, "said %s", ("x",), None)
    text = _utils(package).ColorFormatter("%(levelname)s %(message)s", use_color=color).format(record)
    codes = {"DEBUG": "34", "WARNING": "33", "ERROR": "31", "CRITICAL": "35"}
    plain = f"{level} said x"
    assert text == (f"\033[1;{codes[level]}m{plain}\033[0m" if color and level in codes else plain)


@BOTH
def test_record_that_cannot_be_shown_is_described(package: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    log = _utils(package)

    def refuses(*_: Any) -> str:
        raise ValueError("no colour")

    monkeypatch.setattr(log, "safe_str", refuses)
    record = logging.LogRecord("n", logging.ERROR, "f", 1, "said", (), None)
    text = log.ColorFormatter().format(record)
    assert text.startswith("<Unrepresentable <class 'str'>: ValueError('no colour')>")
    assert record.msg == "said"
    assert record.exc_info is None


@BOTH
def test_traceback_is_that_of_the_current_exception(package: ModuleType) -> None:
    formatter = _utils(package).ColorFormatter()
    try:
        raise KeyError("here")
    except KeyError:
        assert formatter.formatException(1).endswith("KeyError: 'here'")


@BOTH
def test_proxy_logs_lines(package: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    log, logger = _utils(package), logging.getLogger("proxied")
    proxy = log.LoggingProxy(logger, "info")
    with caplog.at_level(logging.DEBUG, logger="proxied"):
        written = [proxy.write(each) for each in ("one\n", "", "\n", b"two", "three\nfour\n")]
        proxy.writelines(["five", "six"])
        proxy.flush()
        proxy.close()
        written.append(proxy.write("seven"))
    assert written == [3, 0, 0, 3, 10, 0]
    assert [(each.levelno, each.message) for each in caplog.records] == [
        (logging.INFO, text) for text in ("one", "two", "three\nfour", "five", "six")
    ]
    assert (proxy.isatty(), proxy.mode, proxy.closed) == (False, "w", True)
    assert log.LoggingProxy(logger).loglevel == logging.ERROR


@BOTH
def test_proxy_stops_handler_that_writes_to_it(package: ModuleType) -> None:
    logger, seen = logging.getLogger(f"recursive.{package.__name__}"), []

    class Writes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())
            proxy.write("again")

    logger.addHandler(Writes())
    proxy = _utils(package).LoggingProxy(logger, logging.ERROR)
    assert proxy.write("once") == 4
    assert seen == ["once"]


@BOTH
def test_output_in_signal_handler_goes_to_standard_error(
    package: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log, real = _utils(package), io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", real)
    proxy = log.LoggingProxy(logging.getLogger("interrupted"))
    with log.in_sighandler():
        assert proxy.write("from a signal") == 13
    proxy.write("from a program")
    assert real.getvalue() == "from a signal\n"
    assert [each.message for each in caplog.records] == ["from a program"]


@BOTH
def test_open_files_of_loggers_are_listed(package: ModuleType) -> None:
    handler = logging.StreamHandler(io.StringIO())
    logging.getLogger("with.file").addHandler(handler)
    try:
        assert handler.stream in list(_utils(package).iter_open_logger_fds())
    finally:
        logging.getLogger("with.file").removeHandler(handler)


@BOTH
def test_set_up_configures_root_and_tasks_once(package: ModuleType, tmp_path: Any) -> None:
    app, log_file = (
        _app(package, worker_log_format="W %(message)s", worker_task_log_format="T %(message)s"),
        tmp_path / "log",
    )
    assert app.log.already_setup is False
    assert app.log.setup(loglevel="INFO", logfile=str(log_file)) == []
    assert app.log.already_setup is _logging(package).Logging.already_setup is True
    assert app.log.setup(loglevel="DEBUG") is None
    logging.getLogger("proj").info("by worker")
    _utils(package).get_task_logger("proj.tasks.x").warning("by task")
    logging.getLogger("proj").debug("not logged")
    assert log_file.read_text().splitlines() == ["W by worker", "T by task"]
    assert logging.root.level == logging.INFO
    assert os.environ["CELERY_LOG_LEVEL"] == "10"


@BOTH
def test_file_is_named_by_worker(package: ModuleType, tmp_path: Any) -> None:
    _app(package).log.setup(loglevel="INFO", logfile=f"{tmp_path}/%n.%h.log", hostname="w1@host")
    assert [each.name for each in tmp_path.iterdir()] == ["w1.host.log"]


@BOTH
def test_receiver_of_signal_sets_up_logging_instead(package: ModuleType) -> None:
    got: list[dict[str, Any]] = []
    handlers = list(logging.root.handlers)

    def receiver(signal: Any, sender: Any, **kwargs: Any) -> str:
        got.append(kwargs)
        return "mine"

    package.signals.setup_logging.connect(receiver)
    try:
        responses = _app(package, worker_log_format="F").log.setup(loglevel="WARNING", redirect_stdouts=True)
    finally:
        package.signals.setup_logging.disconnect(receiver)
    assert responses == [(receiver, "mine")]
    assert got == [{"loglevel": 30, "logfile": None, "format": "F", "colorize": False}]
    assert logging.root.handlers == handlers
    assert not isinstance(sys.stdout, _utils(package).LoggingProxy)


@BOTH
def test_error_of_receiver_is_raised(package: ModuleType) -> None:
    def receiver(**_: Any) -> None:
        raise LookupError("no configuration")

    package.signals.setup_logging.connect(receiver)
    app = _app(package)
    try:
        with pytest.raises(LookupError, match="no configuration"):
            app.log.setup()
    finally:
        package.signals.setup_logging.disconnect(receiver)
    assert not app.log.already_setup


@BOTH
def test_receivers_are_told_of_loggers(package: ModuleType) -> None:
    got: list[tuple[str, list[str], str, Any]] = []

    def receiver(signal: Any, sender: Any, logger: Any, **kwargs: Any) -> None:
        got.append((signal.name, sorted(kwargs), logger.name, kwargs["loglevel"]))

    signals = (package.signals.after_setup_logger, package.signals.after_setup_task_logger)
    for signal in signals:
        signal.connect(receiver)
    try:
        _app(package).log.setup(loglevel="ERROR")
    finally:
        for signal in signals:
            signal.disconnect(receiver)
    names = ["colorize", "format", "logfile", "loglevel"]
    assert got == [
        ("after_setup_logger", names, "root", logging.ERROR),
        ("after_setup_task_logger", names, "celery.task", logging.ERROR),
    ]


@BOTH
@pytest.mark.parametrize("hijack", [True, False])
def test_handlers_of_root_are_kept_unless_hijacked(package: ModuleType, hijack: bool) -> None:
    handler = logging.StreamHandler(io.StringIO())
    logging.root.addHandler(handler)
    _app(package, worker_hijack_root_logger=hijack).log.setup()
    assert (handler in logging.root.handlers) is not hijack


@BOTH
def test_output_is_redirected(package: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    app = _app(package, worker_hijack_root_logger=False)
    app.log.setup(loglevel="INFO", redirect_stdouts=True, redirect_level="INFO")
    sys.stdout.write("from a task\n")
    sys.stderr.write("an error")
    assert [(each.name, each.levelname, each.message) for each in caplog.records] == [
        ("celery.redirected", "INFO", "from a task"),
        ("celery.redirected", "INFO", "an error"),
    ]
    assert os.environ["CELERY_LOG_REDIRECT"] == "1"


@BOTH
def test_one_stream_can_be_redirected(package: ModuleType) -> None:
    log, before = _app(package).log, sys.stderr
    proxy = log.redirect_stdouts_to_logger(logging.getLogger("one"), loglevel="error", stderr=False)
    assert sys.stdout is proxy
    assert sys.stderr is before


@BOTH
@pytest.mark.parametrize(
    ("colorize", "logfile", "terminal", "expected"),
    [
        (None, None, True, True),
        (None, None, False, False),
        (True, "file", True, False),
        (True, None, True, True),
        (False, None, True, False),
    ],
)
def test_colours_are_for_terminals(
    package: ModuleType, colorize: Any, logfile: Any, terminal: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    monkeypatch.setattr(sys, "stderr", Stream())
    log = _app(package, worker_log_color=None).log
    assert log.supports_color(colorize, logfile) is expected
    assert log.colored(logfile, enabled=colorize).enabled is expected


@BOTH
def test_task_logger_has_a_handler_and_does_not_propagate(package: ModuleType) -> None:
    log = _app(package).log
    logger = log.setup_task_loggers(loglevel=logging.INFO, logfile=sys.__stderr__, propagate=False)
    assert (logger.name, logger.level, logger.propagate) == ("celery.task", logging.INFO, 0)
    real = [each for each in logger.handlers if not isinstance(each, logging.NullHandler)]
    assert len(real) == 1
    assert isinstance(real[0].formatter, _logging(package).TaskFormatter)
    assert log.setup_task_loggers(propagate=True).propagate == 1
    assert log.get_default_logger() is logging.getLogger("celery")


@BOTH
def test_line_names_the_running_task(package: ModuleType) -> None:
    app, formatter = _app(package), _logging(package).TaskFormatter("%(task_name)s[%(task_id)s] %(message)s")
    record = logging.LogRecord("n", logging.INFO, "f", 1, "said", (), None)
    assert formatter.format(record) == "???[???] said"
    lines: list[str] = []

    def work() -> None:
        lines.append(formatter.format(logging.LogRecord("n", logging.INFO, "f", 1, "said", (), None)))

    app.task(name="proj.work")(work).apply(task_id="the-id", throw=True)
    assert lines == ["proj.work[the-id] said"]
