"""Signals: each scenario runs on Celery's and on ours, and both must come to the same outcome."""

import gc
import logging
from types import ModuleType
from typing import Any

import celery.local
import celery.signals
import celery.utils.dispatch
import celery.utils.functional
import pytest

import taskq_cloud.celery.local
import taskq_cloud.celery.signals
import taskq_cloud.celery.utils.dispatch
import taskq_cloud.celery.utils.functional

BOTH = pytest.mark.parametrize("package", [celery, taskq_cloud.celery], ids=["celery", "ours"])


def _signal(package: ModuleType, **options: Any) -> Any:
    return package.utils.dispatch.Signal(name="tested", **options)


def test_all_signals_have_celerys_names_and_arguments() -> None:
    theirs = {name: each for name, each in vars(celery.signals).items() if hasattr(each, "providing_args")}
    theirs.pop("Signal", None)
    for name, signal in theirs.items():
        ours = getattr(taskq_cloud.celery.signals, name)
        assert (ours.name, ours.providing_args) == (signal.name, signal.providing_args)
    assert set(taskq_cloud.celery.signals.__all__) == set(celery.signals.__all__)
    assert len(theirs) == 34


@BOTH
def test_receiver_gets_signal_sender_and_arguments(package: ModuleType) -> None:
    signal = _signal(package)

    def receiver(**kwargs: Any) -> Any:
        return sorted(kwargs), kwargs["sender"], kwargs["x"]

    assert signal.send(sender="s", x=1) == []
    assert signal.connect(receiver) is receiver
    assert signal.send(sender="s", x=1) == [(receiver, (["sender", "signal", "x"], "s", 1))]
    assert signal.send_robust(sender=None, x=2) == [(receiver, (["sender", "signal", "x"], None, 2))]


@BOTH
def test_receiver_connected_to_sender_gets_only_its_signals(package: ModuleType) -> None:
    signal, sender, other = _signal(package), object(), object()

    def receiver(sender: Any, **_: Any) -> Any:
        return "called"

    signal.connect(receiver, sender=sender)
    assert signal.send(sender=sender) == [(receiver, "called")]
    assert signal.send(sender=other) == []
    assert signal.has_listeners(sender)
    assert not signal.has_listeners(other)


@BOTH
@pytest.mark.parametrize("form", ["plain", "called", "options"])
def test_connect_is_a_decorator(package: ModuleType, form: str) -> None:
    signal = _signal(package)
    decorate: Any = {"plain": signal.connect, "called": signal.connect(), "options": signal.connect(sender="me")}[form]

    def receiver(**_: Any) -> str:
        return "called"

    assert decorate(receiver) is receiver
    assert signal.send(sender="me") == [(receiver, "called")]
    assert bool(signal.send(sender="you")) is (form != "options")


@BOTH
def test_receiver_without_keywords_is_refused(package: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"Signal receiver must accept keyword arguments\."):
        _signal(package).connect(lambda sender: None)


@BOTH
def test_unknown_option_is_refused(package: ModuleType) -> None:
    with pytest.raises(TypeError, match="strong"):
        _signal(package).connect(lambda **_: None, strong=True)


@BOTH
def test_receiver_that_is_collected_is_disconnected(package: ModuleType) -> None:
    signal = _signal(package)

    class Receiver:
        def method(self, **_: Any) -> str:
            return "method"

    kept = Receiver()
    signal.connect(kept.method)
    signal.connect(lambda **_: "gone")
    signal.connect(lambda **_: "strong", weak=False)
    gc.collect()
    assert [answer for _, answer in signal.send(sender=None)] == ["method", "strong"]
    assert len(signal.receivers) == 2
    del kept
    gc.collect()
    assert [answer for _, answer in signal.send(sender=None)] == ["strong"]


@BOTH
def test_methods_of_two_objects_are_two_receivers(package: ModuleType) -> None:
    signal = _signal(package)

    class Receiver:
        def __init__(self, name: str) -> None:
            self.name = name

        def method(self, **_: Any) -> str:
            return self.name

    one, two = Receiver("one"), Receiver("two")
    for each in (one, two, one):
        signal.connect(each.method)
    assert [answer for _, answer in signal.send(sender=None)] == ["one", "two"]
    assert signal.disconnect(one.method)
    assert [answer for _, answer in signal.send(sender=None)] == ["two"]


@BOTH
def test_dispatch_uid_connects_one_receiver_for_a_sender(package: ModuleType) -> None:
    signal = _signal(package)
    for number in range(3):
        signal.connect(lambda number=number, **_: number, weak=False, dispatch_uid="once")
    signal.connect(lambda **_: "for b", weak=False, dispatch_uid="once", sender="b")
    assert [answer for _, answer in signal.send(sender="a")] == [0]
    assert [answer for _, answer in signal.send(sender="b")] == [0, "for b"]
    assert signal.disconnect(dispatch_uid="once")
    assert not signal.disconnect(dispatch_uid="once")
    assert [answer for _, answer in signal.send(sender="b")] == ["for b"]


@BOTH
def test_error_of_receiver_is_returned_and_logged(package: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    signal, error = _signal(package), KeyError("boom")

    def fails(**_: Any) -> None:
        raise error

    def works(**_: Any) -> str:
        return "fine"

    signal.connect(fails)
    signal.connect(works)
    with caplog.at_level(logging.ERROR):
        assert signal.send(sender=None) == [(fails, error), (works, "fine")]
    assert caplog.records[0].getMessage() == f"Signal handler {fails!r} raised: KeyError('boom')"
    assert error.__traceback__ is not None


@BOTH
@pytest.mark.parametrize("named", [False, True])
def test_retried_receiver_is_called_until_it_succeeds(
    package: ModuleType, named: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr("kombu.utils.functional.sleep", slept.append)
    signal, calls = _signal(package), []

    def receiver(**kwargs: Any) -> str:
        calls.append(kwargs["x"])
        if len(calls) < 3:
            raise ConnectionError("away")
        return "connected"

    options = {"dispatch_uid": "mine"} if named else {}
    signal.connect(sender="me", retry=True, **options)(receiver)
    gc.collect()
    with caplog.at_level(logging.ERROR):
        ((_, answer),) = signal.send(sender="me", x=1)
    assert (answer, calls, sum(slept)) == ("connected", [1, 1, 1], 6.0)
    expected = f"Could not process signal receiver {receiver}. Retrying in"
    assert [record.getMessage()[: len(expected)] for record in caplog.records] == [expected] * 2
    assert caplog.records[0].getMessage() == f"{expected} 2.00 seconds..."
    assert signal.disconnect(receiver, sender="me", **options)
    assert signal.receivers == []


@BOTH
def test_receiver_of_lazy_sender_is_connected_once_it_is_made(package: ModuleType) -> None:
    signal, sender = _signal(package), object()
    lazy = package.local.PromiseProxy(lambda: sender)

    def receiver(**_: Any) -> str:
        return "called"

    signal.connect(receiver, sender=lazy)
    assert signal.receivers == []
    assert lazy._get_current_object() is sender
    assert signal.send(sender=sender) == [(receiver, "called")]
    assert signal.send(sender=lazy) == [(receiver, "called")]
    assert signal.send(sender=object()) == []


@BOTH
def test_proxy_sender_stands_for_its_object(package: ModuleType) -> None:
    signal, sender = _signal(package), object()

    def receiver(**_: Any) -> str:
        return "called"

    signal.connect(receiver, sender=package.local.Proxy(lambda: sender))
    assert signal.send(sender=sender) == [(receiver, "called")]


@BOTH
def test_cached_receivers_follow_changes(package: ModuleType) -> None:
    class Sender:
        pass

    signal, sender = _signal(package, use_caching=True), Sender()

    def receiver(**_: Any) -> str:
        return "called"

    other = Sender()
    signal.connect(receiver, sender=sender)
    assert signal.send(sender=other) == signal.send(sender=other) == []
    assert signal.send(sender=sender) == signal.send(sender=sender) == [(receiver, "called")]
    signal.connect(receiver, sender=other)
    assert signal.send(sender=other) == [(receiver, "called")]
    signal.disconnect(receiver, sender=sender)
    assert signal.send(sender=sender) == []


@BOTH
def test_disconnect_warns_of_weak(package: ModuleType) -> None:
    with pytest.warns(DeprecationWarning, match="Passing `weak` to disconnect has no effect"):
        _signal(package).disconnect(lambda **_: None, weak=True)


@BOTH
def test_signal_describes_itself(package: ModuleType) -> None:
    signal = _signal(package, providing_args=["x"])
    assert repr(signal) == str(signal) == "<Signal: tested providing_args={'x'}>"
