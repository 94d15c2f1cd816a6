"""Processes of the system: each scenario runs with Celery's module and with ours, and both come to one outcome."""

import errno
import grp
import importlib
import os
import pwd
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest

THEIRS, OURS = (importlib.import_module(f"{package}.platforms") for package in ("celery", "taskq_cloud.celery"))
Scenario = Callable[[ModuleType, Path, pytest.MonkeyPatch], Any]


@pytest.fixture(autouse=True)
def _same_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _names(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
    names = ("EX_OK", "EX_FAILURE", "EX_UNAVAILABLE", "EX_USAGE", "EX_CANTCREAT", "SYSTEM", "IS_macOS", "IS_WINDOWS")
    more = ("PIDFILE_FLAGS", "PIDFILE_MODE", "DAEMON_WORKDIR", "SIGNAMES", "SIGMAP")
    return [getattr(module, name) for name in names + more], module.pyimplementation(), module.PIDFile is module.Pidfile


def _texts(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
    argvs = (["celery"], ["celery", "worker", "-l"], ["manage.py", "celery", "worker"], ["manage.py"])
    titles = module.set_process_title("name"), module.set_process_title("name", info="more")
    processes = module.set_mp_process_title("p"), module.set_mp_process_title("p", info="i", hostname="h")
    return [module.strargv(argv) for argv in argvs], titles, processes, module.signal_name(2)


def _terminals(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
    with (tmp / "file").open("w") as file:
        return module.isatty(file), module.isatty(object())


def _signals(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
    signals, seen = module.signals, list[Any]()

    def handler(*_: Any) -> None:
        seen.append("handled")

    signals["USR1"] = handler
    os.kill(os.getpid(), signal.SIGUSR1)
    kept = signals["USR1"] is handler
    signals.ignore("USR1", "SIGUSR2")
    ignored = signals["USR1"] == signals.ignored, signals["USR2"] == signals.ignored
    signals.reset("USR1")
    signals.update({"USR2": handler}, CLD=signals.default)
    signals["NOSUCHSIGNAL"] = handler
    signals["KILL2"] = handler
    more = signals["USR1"] == signals.default, signals["SIGUSR2"] is handler
    numbers = [signals.signum(each) for each in ("INT", "SIGINT", 2)]
    supported = signals.supported("INT"), signals.supported("FOO")
    aliases = module.get_signal("INT"), module.install_signal_handler("USR1", handler), module.reset_signal("USR1")
    return seen, kept, ignored, more, numbers, supported, aliases, module.ignore_signal("USR1")


def _no_signals_name(name: Any) -> Scenario:
    def scenario(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
        return module.signals.signum(name)

    return scenario


def _alarm(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
    module.signals.arm_alarm(30)
    return module.signals.reset_alarm() in (29, 30), module.signals.reset_alarm()


def _ignored_errors(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
    with module.ignore_errno("ENOENT"):
        (tmp / "none").read_text()
    with module.ignore_errno(errno.ENOENT, "EPERM", types=(OSError,)):
        (tmp / "none").read_text()
    return module.get_errno_name("ENOENT"), module.get_errno_name(7)


def _other_errors(error: Any, **options: Any) -> Scenario:
    def scenario(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
        with module.ignore_errno("ENOENT", **options):
            raise error

    return scenario


def _descriptors(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
    path = tmp / "open"
    with path.open("w") as file:
        found = module.fd_by_path([str(path), str(tmp / "none")])
        same = found == [file.fileno()]
    numbers = module.maybe_fileno(5), module.maybe_fileno(object()), module.maybe_fileno(None)
    return same, module.fd_by_path([str(tmp / "none")]), isinstance(module.get_fdmax(3), int), numbers


def _pid_file(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
    path = tmp / "pid"
    lock = module.Pidfile(str(path))
    before = lock.is_locked(), lock.read_pid(), lock.remove()
    with lock as held:
        during = held is lock, lock.is_locked(), lock.read_pid() == os.getpid(), oct(path.stat().st_mode)
        try:
            module.Pidfile(str(path)).acquire()
        except module.LockFailed as error:
            refused = "File exists" in str(error)
    own = module.Pidfile(str(path)).acquire().remove_if_stale()
    return before, during, refused, own, path.exists()


def _stale_files(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
    seen = []
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for content in ("abc\n", "12", "", f"{ended.pid}\n", "1\n" if os.getuid() == 0 else f"{os.getppid()}\n"):
        path = tmp / "pid"
        path.write_text(content)
        lock = module.Pidfile(str(path))
        try:
            read: Any = lock.read_pid() is not None
        except ValueError as error:
            read = str(error).replace(str(tmp), "")
        seen.append((read, lock.remove_if_stale(), path.exists()))
    return seen


def _locked_program(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
    path = tmp / "pid"
    registered = Mock()
    patch.setattr("atexit.register", registered)
    lock = module.create_pidlock(str(path))
    registered.assert_called_with(lock.release)
    path.write_text(f"{os.getppid()}\n")
    module.create_pidlock(str(path))


def _users(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    return module.parse_uid(user), module.parse_uid("5"), module.parse_gid(group), module.parse_gid(7)


def _unknown(kind: str) -> Scenario:
    def scenario(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
        return getattr(module, f"parse_{kind}")("no-such-name")

    return scenario


class _System:
    """Stands for the system's users: notes the changes, and lets them be done or refuses them."""

    def __init__(self, patch: pytest.MonkeyPatch, **users: int) -> None:
        self.calls: list[Any] = []
        self.users = {"uid": 0, "euid": 0, "gid": 0, "egid": 0, **users}
        self.keeps_root = False
        for name in self.users:
            patch.setattr(os, f"get{name}", lambda name=name: self.users[name])
        patch.setattr(os, "setuid", self.setuid)
        patch.setattr(os, "setgid", self.setgid)
        patch.setattr(os, "initgroups", lambda name, gid: self.calls.append(("initgroups", name, gid)))

    def setuid(self, uid: int) -> None:
        self.calls.append(("setuid", uid))
        if uid == 0 and not self.keeps_root:
            raise OSError(errno.EPERM, "no")
        if not self.keeps_root:
            self.users |= {"uid": uid, "euid": uid}

    def setgid(self, gid: int) -> None:
        self.calls.append(("setgid", gid))
        self.users |= {"gid": gid, "egid": gid}


def _dropped(keeps_root: bool = False, users: Any = None, **given: Any) -> Scenario:
    def scenario(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
        system = _System(patch, **(users or {}))
        system.keeps_root = keeps_root
        module.maybe_drop_privileges(**given)
        return system.calls, system.users

    return scenario


def _groups(failures: Any, own: Any = (1, 2)) -> Scenario:
    def scenario(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
        left, calls = list(failures), list[Any]()

        def setgroups(groups: Any) -> None:
            calls.append(list(groups))
            if left:
                raise left.pop(0)

        patch.setattr(os, "setgroups", setgroups)
        patch.setattr(os, "getgroups", lambda: list(own))
        module.setgroups([1, 2, 3])
        return calls

    return scenario


def _checked(accept: Any, force: bool = False, **users: int) -> Scenario:
    def scenario(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
        _System(patch, **users)
        patch.delenv("C_FORCE_ROOT", raising=False)
        if force:
            patch.setenv("C_FORCE_ROOT", "1")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                module.check_privileges(accept)
            except Exception as error:
                return type(error).__name__
        return [type(each.message).__name__ for each in caught]

    return scenario


def _fake_daemon(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
    masks, called = list[Any](), list[Any]()
    patch.setattr(os, "umask", masks.append)
    patch.chdir(tmp)
    for umask in ("022", "18", 18, None):
        context = module.DaemonContext(workdir=str(tmp), umask=umask, fake=True, after_chdir=lambda: called.append(1))
        with context:
            opened = context._is_open
            context.open()
        called.append((opened, context._is_open, context.workdir == str(tmp), context.umask))
    return masks, called, module.DaemonContext().workdir


def _fake_detached(module: ModuleType, tmp: Path, patch: pytest.MonkeyPatch) -> Any:
    patch.chdir(tmp)
    with module.detached(logfile=str(tmp / "log"), pidfile=str(tmp / "pid"), fake=True, umask=None) as opened:
        return opened, sorted(path.name for path in tmp.iterdir())


SCENARIOS: dict[str, Scenario] = {
    "names": _names,
    "texts": _texts,
    "terminals": _terminals,
    "signals": _signals,
    "small name of a signal": _no_signals_name("int"),
    "name of a signal that is no text": _no_signals_name(1.5),
    "unknown signal": _no_signals_name("FOO"),
    "alarm": _alarm,
    "ignored errors": _ignored_errors,
    "another error of the system": _other_errors(OSError(errno.EPERM, "x")),
    "error without a number": _other_errors(KeyError("x")),
    "error of another type": _other_errors(OSError(errno.ENOENT, "x"), types=(KeyError,)),
    "descriptors": _descriptors,
    "file of a process id": _pid_file,
    "stale files": _stale_files,
    "locked program": _locked_program,
    "users": _users,
    "unknown user": _unknown("uid"),
    "unknown group": _unknown("gid"),
    "no user": _dropped(),
    "user": _dropped(uid="65534"),
    "user and group": _dropped(uid="65534", gid="5"),
    "group": _dropped(gid=5),
    "group of root": _dropped(gid="0"),
    "user that can go back": _dropped(keeps_root=True, uid="65534"),
    "real root with another effective user": _dropped(users={"euid": 5}, uid="65534"),
    "groups": _groups([]),
    "too many groups": _groups([OSError(errno.EINVAL, "x"), ValueError("x")]),
    "no groups can be set": _groups([ValueError("x")] * 3),
    "another error with groups": _groups([OSError(errno.EIO, "x")]),
    "groups of another": _groups([OSError(errno.EPERM, "x")], own=(1, 7)),
    "groups that are set": _groups([OSError(errno.EPERM, "x")]),
    "root with pickle": _checked(["pickle"]),
    "root with pickle by force": _checked({"pickle": 1}, force=True),
    "root with JSON": _checked(["json"]),
    "another user with pickle": _checked(["pickle"], uid=5, euid=5, gid=5, egid=5),
    "group without a name": _checked(["json"], uid=5, euid=5, gid=54321, egid=54321),
    "group without a name, with pickle": _checked(["pickle"], uid=5, euid=5, gid=54321, egid=54321),
    "fake daemon": _fake_daemon,
    "fake detached program": _fake_detached,
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_comes_to_celerys_outcome(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = []
    for module in (THEIRS, OURS):
        folder = tmp_path / module.__name__
        folder.mkdir()
        with monkeypatch.context() as patch:
            try:
                outcome: Any = "returned", SCENARIOS[name](module, folder, patch)
            except (Exception, SystemExit) as error:
                outcome = "raised", type(error).__name__, str(error)
        written = "".join(capsys.readouterr()).replace(str(folder), "")
        outcomes.append((outcome, written))
    assert outcomes[1] == outcomes[0]


_DAEMON = """
import os, sys
from taskq_cloud.celery.platforms import DaemonContext
with DaemonContext(workdir="/", umask=0o22):
    with open(sys.argv[1], "w") as out:
        print(os.getcwd(), os.getpgid(0) != int(sys.argv[2]), os.getppid() != int(sys.argv[3]), file=out)
"""


def test_daemon_leaves_its_group_and_its_parent(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", _DAEMON, str(pipe), str(os.getpgid(0)), str(os.getpid())]
    assert subprocess.run(command, check=False, cwd=Path.cwd(), timeout=30).returncode == 0
    assert pipe.read_text() == "/ True True\n"


def test_child_can_end_with_its_parent() -> None:
    code = "from taskq_cloud.celery import platforms; platforms.set_pdeathsig('SIGKILL')"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
