"""The state of all workers and their tasks, as events tell it: ``State``.

A program gives each event that it receives to ``State.event``. ``taskq_cloud.celery.events.snapshot`` looks at a state
at intervals.
"""

from __future__ import annotations

import bisect
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from operator import itemgetter
from typing import Any
from weakref import WeakSet, ref

from taskq_cloud.celery import states
from taskq_cloud.celery.events.tasks import TASK_EVENT_TO_STATE, Task
from taskq_cloud.celery.events.workers import (
    HEARTBEAT_DRIFT_MAX,
    HEARTBEAT_EXPIRE_WINDOW,
    Worker,
    heartbeat_expires,
)
from taskq_cloud.celery.utils._logical_clock import timetuple
from taskq_cloud.celery.utils.functional import LRUCache

__all__ = (
    "HEARTBEAT_DRIFT_MAX",
    "HEARTBEAT_EXPIRE_WINDOW",
    "TASK_EVENT_TO_STATE",
    "CallableDefaultdict",
    "State",
    "Task",
    "Worker",
    "heartbeat_expires",
)

_of_worker = itemgetter("hostname", "timestamp", "local_received")
_of_task = itemgetter("uuid", "hostname", "timestamp", "local_received", "clock")


class CallableDefaultdict(defaultdict[Any, Any]):
    """A mapping that can be called: ``tasks_by_type["name"]`` has the tasks, and ``tasks_by_type("name")`` their order.

    Args:
        fun: is called.
        args: the arguments of ``defaultdict``.
        kwargs: first entries.
    """

    def __init__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.fun = fun
        super().__init__(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.fun(*args, **kwargs)


class State:
    """The workers and the tasks that events have told of.

    Args:
        callback: is called with this object and each event, before the event is handled.
        workers: the workers by name.
        tasks: the tasks by id.
        taskheap: the places of events in time.
        max_workers_in_memory: the number of workers that are kept.
        max_tasks_in_memory: the number of tasks that are kept.
        on_node_join: is called with a worker that is new or has started.
        on_node_leave: is called with a worker that has stopped, which is then forgotten.
        tasks_by_type: the ids of tasks by the task's name.
        tasks_by_worker: the ids of tasks by the worker's name.
    """

    Worker = Worker
    Task = Task
    event_count = 0
    task_count = 0
    heap_multiplier = 4
    """The number of events that are kept for each task: sent, received, started and ended."""

    def __init__(
        self,
        callback: Callable[[Any, Any], Any] | None = None,
        workers: Any = None,
        tasks: Any = None,
        taskheap: list[Any] | None = None,
        max_workers_in_memory: int = 5000,
        max_tasks_in_memory: int = 10000,
        on_node_join: Callable[[Any], Any] | None = None,
        on_node_leave: Callable[[Any], Any] | None = None,
        tasks_by_type: Mapping[str, Iterable[Any]] | None = None,
        tasks_by_worker: Mapping[str, Iterable[Any]] | None = None,
    ) -> None:
        self.event_callback = callback
        self.workers = LRUCache(max_workers_in_memory) if workers is None else workers
        self.tasks = LRUCache(max_tasks_in_memory) if tasks is None else tasks
        self._taskheap = [] if taskheap is None else taskheap
        self.max_workers_in_memory, self.max_tasks_in_memory = max_workers_in_memory, max_tasks_in_memory
        self.on_node_join, self.on_node_leave = on_node_join, on_node_leave
        self.handlers: dict[str, Callable[[str, Any], Any]] = {}
        self._mutex = threading.Lock()
        self._seen_types: set[str] = set()
        self._tasks_to_resolve = LRUCache(max_tasks_in_memory)
        self.rebuild_taskheap()
        self.tasks_by_type = self._index(self._tasks_by_type, tasks_by_type)
        self.tasks_by_worker = self._index(self._tasks_by_worker, tasks_by_worker)

    def __repr__(self) -> str:
        return f"<State: events={self.event_count} tasks={self.task_count}>"

    def __reduce__(self) -> tuple[Any, ...]:
        by_type, by_worker = (
            {name: [task.id for task in tasks] for name, tasks in index.items()}
            for index in (self.tasks_by_type, self.tasks_by_worker)
        )
        limits = self.max_workers_in_memory, self.max_tasks_in_memory
        callbacks = self.on_node_join, self.on_node_leave
        known = self.event_callback, self.workers, self.tasks, None
        return type(self), (*known, *limits, *callbacks, by_type, by_worker)

    def _index(self, ordered: Callable[..., Any], known: Mapping[str, Iterable[Any]] | None) -> CallableDefaultdict:
        index = CallableDefaultdict(ordered, WeakSet)
        for name, ids in (known or {}).items():
            index[name] = WeakSet(self.tasks[each] for each in ids if each in self.tasks)
        return index

    # -- whole states

    def freeze_while(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function, and return its value. Events wait meanwhile.

        Args:
            fun: the function.
            args: its positional arguments.
            kwargs: its keyword arguments; ``clear_after=True`` forgets workers and ended tasks afterwards.
        """
        clear_after = kwargs.pop("clear_after", False)
        with self._mutex:
            try:
                return fun(*args, **kwargs)
            finally:
                if clear_after:
                    self._clear()

    def clear_tasks(self, ready: bool = True) -> None:
        """Forget the tasks that have ended; with ``ready=False``, all."""
        with self._mutex:
            self._clear_tasks(ready)

    def _clear_tasks(self, ready: bool = True) -> None:
        kept = {uuid: task for uuid, task in self.itertasks() if ready and task.state not in states.READY_STATES}
        self.tasks.clear()
        self.tasks.update(kept)
        self._taskheap.clear()

    def _clear(self, ready: bool = True) -> None:
        self.workers.clear()
        self._clear_tasks(ready)
        self.event_count = self.task_count = 0

    def clear(self, ready: bool = True) -> None:
        """Forget all workers, and the tasks that have ended; with ``ready=False``, all tasks."""
        with self._mutex:
            self._clear(ready)

    # -- events

    def get_or_create_worker(self, hostname: str, **kwargs: Any) -> tuple[Any, bool]:
        """Return a worker, and whether it is new. Its attributes are set to ``kwargs``."""
        try:
            worker = self.workers[hostname]
        except KeyError:
            worker = self.workers[hostname] = self.Worker(hostname, **kwargs)
            return worker, True
        if kwargs:
            worker.update(kwargs)
        return worker, False

    def get_or_create_task(self, uuid: str) -> tuple[Any, bool]:
        """Return a task, and whether it is new."""
        try:
            return self.tasks[uuid], False
        except KeyError:
            task = self.tasks[uuid] = self.Task(uuid, cluster_state=self)
            return task, True

    def event(self, event: Any) -> Any:
        """Take over what an event says.

        Returns:
            ``((object, is_new), type)``: the worker or the task that the event is of, and the event's type without
            its group. None: the event is of neither, or says too little. For a group in ``handlers``, the first is
            what the function there has returned.
        """
        with self._mutex:
            return self._event(event)

    def task_event(self, type_: str, fields: Mapping[str, Any]) -> Any:
        """Take over an event of a task: deprecated; use ``event``."""
        return self._event({**fields, "type": f"task-{type_}"})[0]

    def worker_event(self, type_: str, fields: Mapping[str, Any]) -> Any:
        """Take over an event of a worker: deprecated; use ``event``."""
        return self._event({**fields, "type": f"worker-{type_}"})[0]

    def _event(self, event: Any) -> Any:
        self.event_count += 1
        if self.event_callback:
            self.event_callback(self, event)
        group, _, subject = event["type"].partition("-")
        if group in self.handlers:
            return self.handlers[group](subject, event), subject
        if group == "task":
            return self._event_of_task(subject, event)
        return self._event_of_worker(subject, event) if group == "worker" else None

    def _event_of_worker(self, subject: str, event: Any) -> Any:
        try:
            hostname, timestamp, local_received = _of_worker(event)
        except KeyError:
            return None
        offline = subject == "offline"
        # Reading the data itself doesn't make the worker the last used one.
        worker = self.workers.data.get(hostname)
        created = worker is None and not offline
        if worker is None:
            worker = self.Worker(hostname)
            if created:
                self.workers[hostname] = worker
        worker.event(subject, timestamp, local_received, event)
        if self.on_node_join and (created or subject == "online"):
            self.on_node_join(worker)
        if self.on_node_leave and offline:
            self.on_node_leave(worker)
            self.workers.pop(hostname, None)
        return (worker, created), subject

    def _event_of_task(self, subject: str, event: Any) -> Any:
        uuid, hostname, timestamp, local_received, clock = _of_task(event)
        task: Any = self.tasks.data.get(uuid)
        created = task is None
        if created:
            task = self.tasks[uuid] = self.Task(uuid, cluster_state=self)
        if subject == "sent":
            task.client = origin = hostname
        else:
            task.worker = self.workers.data.get(hostname)
            if task.worker is None:
                task.worker = self.workers[hostname] = self.Worker(hostname)
            if local_received:
                # The times are swapped, as in Celery: the heartbeat is at the time of the event.
                task.worker.event(None, local_received, timestamp)
            origin = task.worker.id
        self._note_place(timetuple(clock, timestamp, origin, ref(task)))
        if subject == "received":
            self.task_count += 1
        task.event(subject, timestamp, local_received, event)
        if task.name is not None:
            self._seen_types.add(task.name)
            if created:
                self.tasks_by_type[task.name].add(task)
                self.tasks_by_worker[hostname].add(task)
        self._note_family(task)
        return (task, created), subject

    def _note_place(self, place: timetuple) -> None:
        if len(self._taskheap) >= self.max_tasks_in_memory * self.heap_multiplier:
            del self._taskheap[0]
        # Most events are later than all before.
        if self._taskheap and place > self._taskheap[-1]:
            self._taskheap.append(place)
        else:
            bisect.insort(self._taskheap, place)

    def _note_family(self, task: Any) -> None:
        """Add a task to its parent's children, or keep it until its parent is known; add children that were kept."""
        if task.parent_id:
            try:
                self.tasks[task.parent_id].children.add(task)
            except KeyError:
                self._add_pending_task_child(task)
        try:
            task.children.update(self._tasks_to_resolve.pop(task.uuid))
        except KeyError:
            return

    def _add_pending_task_child(self, task: Any) -> None:
        if task.parent_id not in self._tasks_to_resolve:
            self._tasks_to_resolve[task.parent_id] = WeakSet()
        self._tasks_to_resolve[task.parent_id].add(task)

    # -- reading

    def rebuild_taskheap(self, timetuple: Callable[..., Any] = timetuple) -> None:
        """Put the tasks in their order in time anew."""
        places = [timetuple(task.clock, task.timestamp, task.origin, ref(task)) for task in self.tasks.values()]
        self._taskheap[:] = sorted(places)

    def itertasks(self, limit: int | None = None) -> Iterator[tuple[Any, Any]]:
        """Return the ids and tasks, at most ``limit`` of them."""
        return islice(self.tasks.items(), limit or None)

    def tasks_by_time(self, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[Any, Any]]:
        """Return the ids and tasks by the time of their events, each once.

        Args:
            limit: the number of events that are looked at.
            reverse: the last events first.
        """
        seen = set()
        places = reversed(self._taskheap) if reverse else self._taskheap
        for place in islice(places, limit):
            task = place[3]()
            if task is not None and task.uuid not in seen:
                yield task.uuid, task
                seen.add(task.uuid)

    tasks_by_timestamp = tasks_by_time

    def _tasks_by_type(self, name: str, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[Any, Any]]:
        """Return the ids and tasks of a name, by time."""
        ordered = self.tasks_by_time(reverse=reverse)
        return islice(((uuid, task) for uuid, task in ordered if task.name == name), limit)

    def _tasks_by_worker(self, hostname: str, limit: int | None = None, reverse: bool = True) -> Iterator[Any]:
        """Return the ids and tasks of a worker, by time."""
        ordered = self.tasks_by_time(reverse=reverse)
        return islice(((uuid, task) for uuid, task in ordered if task.worker.hostname == hostname), limit)

    def task_types(self) -> list[str]:
        """Return the names of all tasks, sorted."""
        return sorted(self._seen_types)

    def alive_workers(self) -> Iterator[Any]:
        """Return the workers that count as online."""
        return (worker for worker in self.workers.values() if worker.alive)
