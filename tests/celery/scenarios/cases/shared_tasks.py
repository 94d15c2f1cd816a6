"""``shared_task`` in every form."""

from __future__ import annotations

from typing import Any

from tests.celery.scenarios.library import Library


def before_any_application_is_finalized(lib: Library) -> Any:
    app = lib.Celery("sh", broker="memory://")

    @lib.shared_task(name="shared.x")
    def task():
        return 5

    return (
        task.name,
        task(),
        task.app is app,
        isinstance(task, lib.Task),
        type(task).__name__,
        "shared.x" in app.tasks,
        repr(task),
        task.apply().get(),
    )


def after_an_application_is_finalized(lib: Library) -> Any:
    app = lib.Celery("sh", broker="memory://")
    app.finalize()

    @lib.shared_task(name="shared.late")
    def task(x):
        return x

    return "shared.late" in app._tasks, task(3), task.s(3)


def of_several_applications(lib: Library) -> Any:
    @lib.shared_task(name="shared.many")
    def task():
        return task.app.main

    first, second = lib.Celery("one"), lib.Celery("two")
    found = task()
    first.set_current()
    return found, task(), first.tasks["shared.many"] is second.tasks["shared.many"], task.app.main


def with_options(lib: Library) -> Any:
    lib.Celery("sh")

    @lib.shared_task(bind=True, max_retries=7, name="shared.options", rate_limit="3/s", custom=1)
    def task(self, x):
        return self.name, self.max_retries, x

    return task(2), task.rate_limit, task.custom


def with_base_class(lib: Library) -> Any:
    lib.Celery("sh")

    class Base(lib.Task):
        abstract = True

        def helper(self):
            return self.name

    @lib.shared_task(base=Base, bind=True, name="shared.base")
    def task(self):
        return self.helper()

    return task(), isinstance(task, Base)


def with_automatic_name(lib: Library) -> Any:
    lib.Celery("sh")

    @lib.shared_task
    def automatic():
        return automatic.name

    @lib.shared_task()
    def other():
        return 1

    return automatic().rpartition(".")[2], other(), automatic.__name__, automatic.__module__ == __name__


def in_class(lib: Library) -> Any:
    lib.Celery("sh")

    class Holder:
        @lib.shared_task(name="shared.in_class")
        def method(x: Any):
            return x * 2

    return Holder.method(3), Holder().method.name


def applied_twice(lib: Library) -> Any:
    lib.Celery("sh")

    @lib.shared_task(name="shared.once")
    def task():
        pass

    return lib.raised(lambda: lib.shared_task(task), text=False), lib.raised(
        lambda: lib.shared_task(name="x")(task), text=False
    )


def in_signatures(lib: Library) -> Any:
    app = lib.Celery("sh", broker="memory://", backend="cache+memory://", task_always_eager=True)

    @lib.shared_task(name="shared.add")
    def add(x, y):
        return x + y

    return (
        (add.s(1, 2) | add.s(3)).apply_async().get(),
        lib.group(add.s(i, i) for i in range(3))().get(),
        lib.signature("shared.add", (1, 2)).delay().get(),
        add.s().app is app,
        add.delay(1, 2).get(),
    )


def declared_by_application_is_shared(lib: Library) -> Any:
    first = lib.Celery("first")

    @first.task(name="declared.shared")
    def task():
        return 1

    @first.task(name="declared.alone", shared=False)
    def alone():
        return 1

    second = lib.Celery("second")
    return "declared.shared" in second.tasks, "declared.alone" in second.tasks, "declared.shared" in first.tasks


def pickled(lib: Library) -> Any:
    import pickle

    lib.Celery("sh")

    @lib.shared_task(name="shared.pickled")
    def task():
        return 1

    return pickle.loads(pickle.dumps(task)).name, pickle.loads(pickle.dumps(task))()


def attributes_are_set_on_the_task(lib: Library) -> Any:
    app = lib.Celery("sh")

    @lib.shared_task(name="shared.attributes")
    def task():
        pass

    task.custom = 3
    return app.tasks["shared.attributes"].custom, task.custom
