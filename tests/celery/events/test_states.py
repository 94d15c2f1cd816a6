"""The state that is made of events: each stream of events is given to Celery's and to ours, which must be equal."""

import gc
import importlib
import logging
import pickle
import random
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest

Outcome = tuple[str, Any]
Scenario = Callable[[ModuleType], Any]

_STATES = tuple(importlib.import_module(f"{package}.events.state") for package in ("celery", "taskq_cloud.celery"))
_TASK_EVENTS = ("sent", "received", "started", "failed", "retried", "succeeded", "revoked", "rejected", "progress")


@pytest.fixture(autouse=True)
def _fast_collections() -> Iterator[None]:
    gc.freeze()
    yield
    gc.unfreeze()


def _outcome(scenario: Scenario, module: ModuleType) -> Outcome:
    try:
        return "returned", scenario(module)
    except Exception as error:
        return "raised", (type(error).__name__, str(error))


def _stream(seed: int, length: int = 300) -> list[dict[str, Any]]:
    """Return events of a few workers and tasks in a random order."""
    choose = random.Random(seed)
    tasks, workers = [f"t{number}" for number in range(25)], [f"w{number}@host" for number in range(4)]
    now, events = 1_700_000_000.0, list[dict[str, Any]]()
    for clock in range(1, length):
        now += choose.choice((0.5, 0.5, 1, -2))
        common = {"hostname": choose.choice(workers), "timestamp": now, "clock": choose.choice((clock, clock, 0, 7))}
        received = {"local_received": now + choose.random()} if choose.random() > 0.05 else {"local_received": None}
        if choose.random() < 0.25:
            kind = choose.choice(("online", "heartbeat", "heartbeat", "offline"))
            about: dict[str, Any] = {
                "pid": choose.choice((1, 2)),
                "freq": 2,
                "active": clock,
                "sw_ver": "5.7",
                "loadavg": (1, 2, 3),
            }
            events.append({"type": f"worker-{kind}", **common, **received, **about})
            continue
        kind = choose.choice(_TASK_EVENTS)
        uuid = choose.choice(tasks)
        about = {"uuid": uuid, "retries": choose.choice((0, 1))}
        if kind in ("sent", "received"):
            about |= {"name": f"name{hash_of(uuid)}", "args": "(1,)", "kwargs": "{}", "eta": None}
            about |= {"parent_id": choose.choice((None, choose.choice(tasks))), "root_id": choose.choice(tasks)}
        if kind == "failed":
            about |= {"exception": "KeyError()", "traceback": "..."}
        events.append({"type": f"task-{kind}", **common, **received, **about})
    return events


def hash_of(uuid: str) -> int:
    return int(uuid[1:]) % 3


def _task_shown(task: Any) -> dict[str, Any]:
    shown = dict(task.as_dict())
    shown["worker"] = None if task.worker is None else task.worker.hostname
    shown["children"] = sorted(shown["children"])
    more = {"info": task.info(), "repr": repr(task), "ready": task.ready, "origin": task.origin, "id": task.id}
    family = {name: getattr(getattr(task, name), "uuid", None) for name in ("parent", "root")}
    return {**shown, **more, **{f"{name} task": uuid for name, uuid in family.items()}}


def _worker_shown(worker: Any) -> dict[str, Any]:
    fields = {name: getattr(worker, name) for name in worker._fields}
    return {**fields, "repr": repr(worker), "alive": worker.alive, "status": worker.status_string, "id": worker.id}


def _shown(state: Any) -> dict[str, Any]:
    gc.collect()
    return {
        "repr": repr(state),
        "counts": (state.event_count, state.task_count),
        "tasks": [(uuid, _task_shown(task)) for uuid, task in state.tasks.items()],
        "workers": [(name, _worker_shown(worker)) for name, worker in state.workers.items()],
        "types": state.task_types(),
        "alive": [worker.hostname for worker in state.alive_workers()],
        "by time": [uuid for uuid, _ in state.tasks_by_time()],
        "by time, first": [uuid for uuid, _ in state.tasks_by_timestamp(limit=20, reverse=False)],
        "by type": {name: sorted(task.id for task in tasks) for name, tasks in state.tasks_by_type.items()},
        "by worker": {name: sorted(task.id for task in tasks) for name, tasks in state.tasks_by_worker.items()},
        "first tasks": [uuid for uuid, _ in state.itertasks(limit=3)],
        "heap": [(place[0], place[1], place[2]) for place in state._taskheap],
    }


def _ordered(state: Any) -> Any:
    types = {name: [uuid for uuid, _ in state.tasks_by_type(name)] for name in state.task_types()}
    limited = {name: [uuid for uuid, _ in state.tasks_by_type(name, limit=2, reverse=False)] for name in types}
    workers = {
        name: _outcome(lambda _, name=name: [uuid for uuid, _ in state.tasks_by_worker(name, limit=4)], _STATES[0])  # type: ignore[misc]
        for name in ("w0@host", "w1@host", "nobody")
    }
    return types, limited, workers


@pytest.mark.parametrize("seed", range(12))
def test_state_of_random_stream_is_celerys(seed: int) -> None:
    def run(module: ModuleType) -> Any:
        noted: list[Any] = []
        state = module.State(
            callback=lambda _, event: noted.append(event["type"]),
            max_workers_in_memory=3 if seed % 3 == 0 else 50,
            max_tasks_in_memory=10 if seed % 2 else 100,
            on_node_join=lambda worker: noted.append(("join", worker.hostname)),
            on_node_leave=(lambda worker: noted.append(("leave", worker.hostname))) if seed % 4 else None,
        )
        answers: list[Any] = []
        for event in _stream(seed):
            answer = state.event(event)
            gc.collect()  # Celery's tasks that are forgotten stay in its indexes until then
            if answer is None:
                answers.append(None)
            else:
                (found, created), subject = answer
                answers.append((found.id, created, subject))
        return answers, noted, _shown(state), _ordered(state)

    theirs, ours = (_outcome(run, module) for module in _STATES)
    assert theirs[0] == "returned"
    assert ours == theirs


@pytest.mark.parametrize("ready", [True, False])
def test_cleared_state_is_celerys(ready: bool) -> None:
    def run(module: ModuleType) -> Any:
        state = module.State()
        events = _stream(3)
        for event in events[:150]:
            state.event(event)
        state.clear_tasks(ready=ready)
        first = _shown(state)
        for event in events[150:]:
            state.event(event)
        second = _shown(state)
        state.clear(ready=ready)
        return first, second, _shown(state)

    theirs, ours = (_outcome(run, module) for module in _STATES)
    assert theirs[0] == "returned"
    assert ours == theirs


def test_rebuilt_places_are_sorted() -> None:
    state = _STATES[1].State()
    for clock in (5, 3, 9, 1, 7):
        event = {"uuid": f"t{clock}", "hostname": "h", "timestamp": 1.0, "local_received": 1.0, "clock": clock}
        state.event({"type": "task-received", **event})
        state.tasks[f"t{clock}"].clock = 10 - clock
    state.rebuild_taskheap()
    assert [uuid for uuid, _ in state.tasks_by_time()] == ["t1", "t3", "t5", "t7", "t9"]


def test_pickled_state_is_celerys() -> None:
    def run(module: ModuleType) -> Any:
        state = module.State(max_tasks_in_memory=50)
        for event in _stream(5):
            state.event(event)
        read = pickle.loads(pickle.dumps(state))
        assert read.max_tasks_in_memory == 50
        shown = _shown_without_families(read)
        state.event({"type": "worker-heartbeat", "hostname": "new@host", "timestamp": 1.0, "local_received": 2.0})
        return shown, sorted(read.tasks), len(read.workers)

    theirs, ours = (_outcome(run, module) for module in _STATES)
    assert theirs[0] == "returned"
    assert ours == theirs


def _shown_without_families(state: Any) -> Any:
    tasks = {uuid: (task.info(), repr(task), task.parent_id, task.root_id) for uuid, task in state.tasks.items()}
    by_type = {name: sorted(task.id for task in tasks) for name, tasks in state.tasks_by_type.items()}
    return tasks, by_type, [repr(worker) for worker in state.workers.values()], repr(state)


def test_frozen_state_waits_and_returns_value() -> None:
    def run(module: ModuleType) -> Any:
        state = module.State()
        for event in _stream(7, 60):
            state.event(event)
        value = state.freeze_while(lambda first, second: (state._mutex.locked(), first, second), 1, second=2)
        before = state.event_count
        with pytest.raises(ZeroDivisionError):
            state.freeze_while(lambda: 1 // 0, clear_after=True)
        return value, before, state._mutex.locked(), _shown(state)

    theirs, ours = (_outcome(run, module) for module in _STATES)
    assert theirs[0] == "returned"
    assert ours == theirs


def _handlers(module: ModuleType) -> Any:
    state = module.State()
    state.handlers["custom"] = lambda subject, event: (subject, event["x"])
    custom = state.event({"type": "custom-thing-here", "x": 3})
    return custom, state.event({"type": "other-thing"}), state.event({"type": "worker-online"}), repr(state)


def _incomplete_task(module: ModuleType) -> Any:
    return module.State().event({"type": "task-sent", "uuid": "x"})


def _deprecated(module: ModuleType) -> Any:
    state = module.State()
    task, created = state.task_event(
        "received",
        {"uuid": "u", "hostname": "h", "timestamp": 1.0, "local_received": 2.0, "clock": 1, "name": "n"},
    )
    worker, new = state.worker_event("online", {"hostname": "h", "timestamp": 1.0, "local_received": 2.0})
    return repr(task), created, repr(worker), new


def _made(module: ModuleType) -> Any:
    state = module.State()
    worker, new = state.get_or_create_worker("h", pid=3)
    again, not_new = state.get_or_create_worker("h", pid=4, freq=1)
    task, created = state.get_or_create_task("u")
    same, not_created = state.get_or_create_task("u")
    return worker is again, new, not_new, worker.pid, worker.freq, task is same, created, not_created


def _equality(module: ModuleType) -> Any:
    tasks = [module.Task(uuid="a"), module.Task(uuid="a", name="x"), module.Task(uuid="b")]
    workers = [module.Worker("a"), module.Worker("a", pid=1), module.Worker("b")]
    equal = [left == right for group in (tasks, workers) for left in group for right in group]
    return equal, tasks[0] == "a", workers[0] == "a", len(set(tasks)), len(set(workers))


def _worker_pickles(module: ModuleType) -> Any:
    worker = module.Worker("h", pid=3, freq=5, clock=None, loadavg=(1, 2))
    worker.event("online", 10.0, 11.0, {"active": 3, "own": 1})
    read = pickle.loads(pickle.dumps(worker))
    return [getattr(read, name) for name in read._fields], repr(read), worker.own, hasattr(read, "own")


def _worker_events(module: ModuleType) -> Any:
    worker = module.Worker("h")
    kept = []
    for kind, timestamp, received in (
        ("online", 5.0, 5.5),
        ("heartbeat", 3.0, 3.5),
        ("heartbeat", None, 4.0),
        ("heartbeat", 9.0, None),
        (None, 7.0, 7.5),
        ("heartbeat", 8.0, 8.5),
        ("heartbeat", 8.0, 8.6),
        ("offline", 9.0, 9.5),
    ):
        worker.event(kind, timestamp, received)
        kept.append(list(worker.heartbeats))
    worker.update({"pid": 1}, freq=3)
    return kept, worker.id, worker.freq, worker.alive


def _task_dict(module: ModuleType) -> Any:
    task = module.Task(uuid="u", name="n", args="(1,)", result=0, children=["a"])
    task.event("received", 1.0, 2.0, {"name": "m", "kwargs": "{}"})
    task.event("progress", 3.0, 4.0, {"percent": 5})
    task.event("sent", 0.5, 4.0, {"name": "late", "args": "(2,)"})
    read = pickle.loads(pickle.dumps(task))
    infos = task.info(), task.info(["name", "uuid"]), task.info(["name"], extra=["state"]), task.info([])
    return task.as_dict(), infos, task.percent, read.as_dict(), task.origin, task.ready, task.state


def _expiry(module: ModuleType) -> Any:
    expires = module.heartbeat_expires
    return expires(10), expires(10, freq=2.5), expires(Decimal("10.5"), Decimal("1.5")), expires(1, 2, 300)


def _alive(module: ModuleType) -> Any:
    worker = module.Worker("h", freq=100)
    worker.event("online", time.time(), time.time())
    return worker.alive, worker.status_string, module.Worker("h").status_string


def _no_heartbeat(module: ModuleType) -> Any:
    return module.Worker("h").heartbeat_expires


def _callable_mapping(module: ModuleType) -> Any:
    mapping = module.CallableDefaultdict(lambda *args, **kwargs: (args, kwargs), list, {"a": [1]})
    return mapping(1, x=2), mapping["a"], mapping["b"], isinstance(mapping, dict)


def _subclass(module: ModuleType) -> Any:
    class Task(module.Task):  # type: ignore[name-defined,misc]
        pass

    class State(module.State):  # type: ignore[name-defined,misc]
        pass

    State.Task = Task
    state = State()
    (task, _), _ = state.event(
        {"type": "task-sent", "uuid": "u", "hostname": "h", "timestamp": 1.0, "local_received": 2.0, "clock": 1}
    )
    return type(task) is Task, task.client, task.origin, task.cluster_state is state


SCENARIOS: tuple[Scenario, ...] = (
    _handlers,
    _incomplete_task,
    _deprecated,
    _made,
    _equality,
    _worker_pickles,
    _worker_events,
    _task_dict,
    _expiry,
    _alive,
    _no_heartbeat,
    _callable_mapping,
    _subclass,
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__)
def test_scenario_comes_to_celerys_outcome(scenario: Scenario) -> None:
    theirs, ours = (_outcome(scenario, module) for module in _STATES)
    assert ours == theirs


def test_clock_that_is_far_off_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    module = _STATES[1]
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            module.Worker("drifting@host").event("online", 100.0, 200.0)
        module.Worker("good@host").event("online", 100.0, 110.0)
    (record,) = [record for record in caplog.records if "clock" in record.getMessage()]
    assert "drifting@host" in record.getMessage()
    assert "100 seconds" in record.getMessage()
