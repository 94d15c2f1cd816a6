"""Tasks whose class has its own ``apply_async``, which adds headers to every call, whoever sends it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.celery.scenarios.library import WAIT, Library, get, run
from tests.celery.scenarios.workers import Running, running


@contextmanager
def prepared(lib: Library) -> Iterator[Running]:
    with running(lib, _declare) as given:
        yield given


def _declare(work: Running) -> None:
    class OfTenant(work.app.Task):
        abstract = True

        def apply_async(self, args=None, kwargs=None, **options):
            work.seen.append(self.name)
            headers = {"tenant": "one", **(options.pop("headers", None) or {})}
            return super().apply_async(args, kwargs, headers=headers, **options)

    @work.task(base=OfTenant, bind=True)
    def tenant(self, *args):
        return [*args, self.request.headers["tenant"]]

    @work.task(base=OfTenant, bind=True)
    def note_tenant(self, *args):
        work.seen.append(["tenant", self.request.headers["tenant"]])

    @work.task(base=OfTenant, bind=True)
    def retried(self, *args):
        if not self.request.retries:
            raise self.retry(countdown=0)
        return self.request.headers["tenant"]

    @work.task(base=OfTenant, bind=True)
    def replaced_by_tenant(self):
        raise self.replace(work.tenant.s())


def _with_calls(work: Running, value: Any) -> Any:
    calls = [each for each in work.seen if isinstance(each, str)]
    work.seen.clear()
    return [value, calls]


def called(work: Running) -> Any:
    return _with_calls(work, get(work.tenant.delay()))


def in_group(work: Running) -> Any:
    return _with_calls(work, run(work.group(work.tenant.s(1), work.tenant.s(2))))


def in_chain(work: Running) -> Any:
    return _with_calls(work, run(work.tenant.s() | work.tenant.s() | work.tenant.s()))


def in_header_and_body_of_chord(work: Running) -> Any:
    return _with_calls(work, run(work.chord([work.tenant.s(), work.tenant.s()], work.tenant.s())))


def after_group_in_chain(work: Running) -> Any:
    return _with_calls(work, run(work.same.s(1) | work.group(work.tenant.s(), work.tenant.s()) | work.tenant.s()))


def as_callback(work: Running) -> Any:
    value = get(work.tenant.apply_async(link=work.note_tenant.s()))
    return [value, work.noted(3)]


def as_errback(work: Running) -> Any:
    work.fail.apply_async(link_error=work.note_tenant.s()).get(timeout=WAIT, propagate=False)
    return work.noted(2)


def as_retry(work: Running) -> Any:
    return _with_calls(work, get(work.retried.delay()))


def as_replacement(work: Running) -> Any:
    return _with_calls(work, get(work.replaced_by_tenant.delay()))
