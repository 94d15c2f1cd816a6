"""Workflows that a worker runs: chains, groups and chords in every place."""

from __future__ import annotations

import time
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
    @work.task(bind=True)
    def replaced_by_ids(self):
        raise self.replace(work.ids.s())

    @work.task(bind=True)
    def noting_ids(self, *args):
        work.seen.append([self.request.id, self.request.root_id, self.request.parent_id])

    @work.task(bind=True)
    def calling(self):
        return [self.request.id, work.ids.delay().id, work.chain(work.ids.si(), work.ids.si())().id]

    @work.task(bind=True)
    def calling_more(self):
        work.add.delay(1, 1)
        work.group(work.add.s(2, 2), work.add.s(3, 3))()
        work.add.apply_async((4, 4), add_to_parent=False)
        return len(self.request.children)

    @work.task()
    def spawning(depth):
        if depth:
            work.spawning.delay(depth - 1)
        return depth

    @work.task()
    def run_signature(sig):
        return work.signature(sig).apply_async().id

    @work.task(bind=True)
    def adding(self, x):
        self.add_to_chord(work.add.s(x, 100))
        return x

    @work.task(bind=True)
    def stamps(self, *args):
        return [self.request.stamps, self.request.stamped_headers]


def _ended(result: Any) -> Any:
    """The state of a result that has failed, and its exception."""
    try:
        return "returned", get(result)
    except Exception as error:
        return type(error).__name__, str(error), getattr(result, "state", None)


def _failure(result: Any) -> Any:
    """The state of a chord's body that has failed. A caller who waits may get the exception of a member instead."""
    deadline = time.monotonic() + WAIT
    while not result.ready() and time.monotonic() < deadline:
        time.sleep(0.01)
    return result.state, type(result.result).__name__


def chain(work: Running) -> Any:
    return (
        run(work.add.s(1, 2) | work.add.s(3) | work.add.s(4)),
        run(work.chain(work.add.s(1, 1), work.add.si(5, 5), work.add.s(1))),
        get(work.chain(work.add.s(1, 1))()),
        get((work.add.s(1) | work.add.s(2)).apply_async((5,))),
        get((work.add.s(1) | work.add.s(2)).delay(7)),
    )


def chain_of_chains(work: Running) -> Any:
    inner = work.add.s(1) | work.add.s(2)
    return run(work.chain(work.add.s(1, 1), inner, work.chain(inner, work.add.s(3)))), run(inner | inner, (1,))


def chain_and_its_parents(work: Running) -> Any:
    result = (work.add.s(1, 2) | work.add.s(3) | work.add.s(4)).apply_async()
    value = get(result)
    parents = get(result.parent), get(result.parent.parent), result.parent.parent.parent
    return value, parents, [each.id for each in result._parents()][:0], result.graph is not None


def group(work: Running) -> Any:
    result = work.group(work.add.s(i, i) for i in range(5))()
    values = get(result)
    return (
        values,
        type(result).__name__,
        len(result),
        result.successful(),
        result.failed(),
        result.waiting(),
        result.ready(),
        result.completed_count(),
        [each.state for each in result.results],
        result.parent,
    )


def group_of_one_and_of_none(work: Running) -> Any:
    return get(work.group([work.add.s(1, 1)])()), get(work.group(work.add.s(2, 2))()), get(work.group([])())


def group_of_fifty(work: Running) -> Any:
    return get(work.group(work.add.s(i, 1) for i in range(50))())


def group_with_arguments(work: Running) -> Any:
    group = work.group(work.add.s(1), work.add.s(2))
    return get(group(5)), get(group.apply_async((6,))), get(group.delay(7)), get(group.apply_async((1,), {"z": 10}))


def group_joined(work: Running) -> Any:
    result = work.group(work.add.s(i, i) for i in range(3))()
    got: list[Any] = []
    joined = result.join(timeout=10, interval=0.01, callback=lambda _, value: got.append(value))
    return sorted(got), joined, sorted(work.group(work.add.s(1, 1), work.add.s(2, 2))().join(timeout=10, interval=0.01))


def group_iterated_natively(work: Running) -> Any:
    result = work.group(work.add.s(i, i) for i in range(3))()
    get(result)
    return sorted(meta["result"] for _, meta in result.iter_native())


def group_saved_and_restored(work: Running) -> Any:
    result = work.group(work.add.s(i, i) for i in range(3))()
    get(result)
    result.save()
    restored = work.app.GroupResult.restore(result.id)
    found = restored == result, get(restored), [each.id for each in restored] == [each.id for each in result]
    result.delete()
    return found, work.app.GroupResult.restore(result.id)


def group_with_failures(work: Running) -> Any:
    result = work.group(work.add.s(1, 1), work.fail.s(), work.add.s(2, 2))()
    ended = _ended(result)[:2]
    values = result.get(propagate=False, timeout=10, interval=0.01)
    return ended, [repr(each) for each in values], result.failed(), result.successful()


def group_within_group(work: Running) -> Any:
    inner = work.group(work.add.s(1, 1), work.add.s(2, 2))
    return get(work.group(inner, work.add.s(3, 3))()), get(work.group([work.group([work.group([work.add.s(1, 1)])])])())


def group_of_chains(work: Running) -> Any:
    return (
        get(work.group(work.add.s(1, 1) | work.add.s(1), work.add.s(2, 2) | work.add.s(2))()),
        get(work.group(work.same.s(1) | work.group(work.add.s(1), work.add.s(2)), work.same.s(0))()),
    )


def chord(work: Running) -> Any:
    return (
        get(work.chord([work.add.s(i, i) for i in range(5)])(work.total.s())),
        get(work.chord((work.add.s(i, i) for i in range(5)), work.total.s())()),
        get(work.chord(work.group(work.add.s(1, 1)), work.total.s()).delay()),
        run(work.chord([work.add.s(1), work.add.s(2)], work.total.s()), (10,)),
        get(work.chord([], work.same.s())()),
        get(work.chord([work.add.s(1, 1)], work.same.si("body")).apply_async()),
        get(work.chord([work.add.s(1, 1)], work.same.s()).apply_async()),
    )


def chord_with_arguments_of_body(work: Running) -> Any:
    return get(work.chord([work.same.s(1), work.same.s(2)])(work.add.s([9], [8]))), get(
        work.chord([work.add.s(1, 1)], work.total.s() | work.add.s(z=5, y=1))()
    )


def chord_of_chains(work: Running) -> Any:
    return (
        get(work.chord([work.add.s(1, 1) | work.add.s(1), work.add.s(2, 2)], work.total.s())()),
        get(work.chord([work.add.s(1, 1), work.add.s(2, 2)], work.total.s() | work.add.s(5))()),
        get(work.chord([work.add.s(1, 1)], work.same.s() | work.total.s() | work.add.s(5))()),
    )


def chord_within_chord(work: Running) -> Any:
    inner = work.chord([work.add.s(1, 1), work.add.s(2, 2)], work.total.s())
    return get(work.chord([inner, work.add.s(3, 3)], work.total.s())()), get(
        work.chord([inner, inner], work.chord([work.same.s()], work.same.s()))()
    )


def chord_after_chain(work: Running) -> Any:
    return run(work.add.s(1, 1) | work.chord([work.add.s(1), work.add.s(2)], work.total.s()) | work.add.s(10))


def chord_with_nested_groups_in_header(work: Running) -> Any:
    return get(work.chord([work.group(work.add.s(1, 1), work.add.s(2, 2)), work.add.s(3, 3)], work.total.s())())


def chord_with_group_as_body(work: Running) -> Any:
    return get(work.chord([work.add.s(1, 1), work.add.s(2, 2)], work.group(work.total.s(), work.same.s()))())


def chord_of_fifty(work: Running) -> Any:
    return get(work.chord(work.add.s(i, 0) for i in range(50))(work.total.s()))


def group_in_chain(work: Running) -> Any:
    add, total, group = work.add, work.total, work.group
    return (
        run(group(add.s(1, 1), add.s(2, 2)) | total.s()),
        run(group(add.s(1, 1), add.s(2, 2)) | total.s() | add.s(10)),
        run(add.s(1, 1) | group(add.s(1), add.s(2))),
        run(add.s(1, 1) | group(add.s(1), add.s(2)) | total.s()),
        run(group(add.s(1, 1), add.s(2, 2)) | total.s() | group(add.s(1), add.s(2))),
        run(group(work.same.s(1), work.same.s(2)) | group(total.s(), work.same.s())),
        run(group(work.same.s(1), work.same.s(2)) | group(total.s(), total.s()) | total.s()),
        run(work.chain(group(work.chain(work.same.s(1), work.same.s()), work.same.s(2)), total.s())),
        run(add.si(1, 1) | group(add.si(1, 2)) | add.s(1)),
        run(group([add.s(1, 1)]) | work.same.s()),
    )


def result_of_group_at_the_end_of_chain(work: Running) -> Any:
    result = (work.add.s(1, 1) | work.group(work.add.s(1), work.add.s(2))).apply_async()
    return get(result), type(result).__name__, type(result.parent).__name__, get(result.parent), result.parent.parent


def result_of_chord_and_its_parent(work: Running) -> Any:
    result = work.chord([work.add.s(1, 1), work.add.s(2, 2)])(work.total.s())
    return get(result), type(result.parent).__name__, get(result.parent), [each.state for each in result.parent]


def chain_that_fails(work: Running) -> Any:
    first = (work.add.s(1, 1) | work.fail.s() | work.add.s(1)).apply_async()
    ended = _ended(first.parent)
    return ended, first.state, get(first.parent.parent), _ended((work.fail.s() | work.same.s()).apply_async().parent)


def chain_that_fails_at_the_end(work: Running) -> Any:
    return _ended((work.add.s(1, 1) | work.fail.s()).apply_async())


def chain_waiting_for_a_parent_that_fails(work: Running) -> Any:
    return _ended((work.fail.s() | work.same.s() | work.same.s()).apply_async())


def chord_that_fails(work: Running) -> Any:
    return _failure(work.chord([work.add.s(1, 1), work.fail.s()])(work.total.s()))


def chord_whose_body_fails(work: Running) -> Any:
    return _ended(work.chord([work.add.s(1, 1)])(work.fail.s())), _ended(
        work.chord([work.add.s(1, 1), work.add.s(1, 1)])(work.total.s() | work.fail.s())
    )


def chord_that_fails_within_chain(work: Running) -> Any:
    return _failure((work.group(work.fail.s(), work.same.s(1)) | work.total.s() | work.add.s(1)).apply_async())


def chord_that_fails_within_chord(work: Running) -> Any:
    inner = work.chord([work.fail.s(), work.same.s(1)], work.total.s())
    return _failure(work.chord([inner, work.same.s(2)])(work.total.s()))


def errbacks_of_task(work: Running) -> Any:
    work.fail.apply_async(link_error=work.note_failure.s())
    first = work.noted(1)
    work.fail.apply_async(task_id="some-id", link_error=work.note_id.s())
    second = work.noted(1)
    work.fail.apply_async(link_error=[work.note_failure.s(), work.note.si(3)])
    third = sorted(work.noted(2))
    return first, second, third


def errbacks_of_chain(work: Running) -> Any:
    chain = work.add.s(1, 1) | work.fail.s() | work.same.s()
    chain.link_error(work.note.si("chain"))
    chain.apply_async()
    first = work.noted(1)
    (work.add.s(1, 1) | work.fail.s()).apply_async(link_error=work.note.si("option"))
    second = work.noted(1)
    (work.add.s(1, 1) | work.fail.s() | work.same.s()).on_error(work.note_failure.s()).apply_async()
    return first, second, work.noted(1)


def errbacks_of_group(work: Running) -> Any:
    group = work.group(work.add.s(1, 1), work.fail.s())
    group.link_error(work.note.si("group"))
    group.apply_async()
    first = work.noted(1)
    option = work.group(work.fail.s(), work.fail.s())
    return first, work.lib.raised(lambda: option.apply_async(link_error=work.note.si("option")))


def errbacks_of_chord(work: Running) -> Any:
    chord = work.chord([work.add.s(1, 1), work.fail.s()], work.total.s())
    chord.link_error(work.note.si("chord"))
    chord.apply_async()
    first = work.noted(1)
    body = work.chord([work.add.s(1, 1), work.add.s(1, 1)], work.fail.s())
    body.link_error(work.note.si("body"))
    body.apply_async()
    return first, work.noted(1)


def errbacks_of_body_of_chord(work: Running) -> Any:
    chord = work.chord([work.add.s(1, 1), work.fail.s()], work.total.s().on_error(work.note.si("errback of body")))
    chord.apply_async()
    return work.noted(1)


def errbacks_of_chord_on_header(work: Running) -> Any:
    work.app.conf.task_allow_error_cb_on_chord_header = True
    try:
        chord = work.chord([work.fail.s(), work.fail.s()], work.total.s())
        chord.link_error(work.note.si("header too"))
        chord.apply_async()
        return work.noted(3)
    finally:
        work.app.conf.task_allow_error_cb_on_chord_header = False


def errbacks_of_nested_workflow(work: Running) -> Any:
    chain = work.same.s(1) | work.group(work.fail.s(), work.same.s()) | work.total.s()
    chain.link_error(work.note.si("nested"))
    chain.apply_async()
    return work.noted(1)


def callbacks_of_task(work: Running) -> Any:
    result = work.add.apply_async((1, 2), link=work.note.s())
    get(result)
    first = work.noted(1)
    work.add.apply_async((1, 2), link=[work.note.s(5), work.note.si(6)])
    return first, sorted(work.noted(2), key=repr)


def callbacks_are_children(work: Running) -> Any:
    result = work.add.apply_async((1, 2), link=work.add.s(10))
    get(result)
    work.add.apply_async((0, 0), link=work.note.s())
    work.noted(1)
    return [get(each) for each in result.children], [type(each).__name__ for each in result.children]


def callbacks_of_chain(work: Running) -> Any:
    chain = work.add.s(1, 1) | work.add.s(2)
    chain.link(work.note.s())
    get(chain.apply_async())
    first = work.noted(1)
    (work.add.s(1, 1) | work.add.s(2)).apply_async(link=work.note.s("option"))
    return first, work.noted(1)


def callbacks_of_chord(work: Running) -> Any:
    chord = work.chord([work.add.s(1, 1)], work.total.s())
    chord.link(work.note.s())
    get(chord.apply_async())
    return work.noted(1)


def callbacks_that_are_workflows(work: Running) -> Any:
    work.add.apply_async((1, 2), link=work.add.s(1) | work.note.s("chain"))
    first = work.noted(1)
    work.add.apply_async((1, 2), link=work.group(work.note.s("a"), work.note.s("b")))
    second = sorted(work.noted(2))
    work.add.apply_async((1, 2), link=work.chord([work.add.s(1), work.add.s(2)], work.note.s("chord")))
    return first, second, work.noted(1)


def replaced_tasks(work: Running) -> Any:
    return (
        run(work.replaced.s(3)),
        run(work.replaced_by_group.s(3)),
        run(work.replaced_by_chain.s(3)),
        run(work.replaced_by_chord.s(3)),
        _ended(work.replaced_by_failure.delay()),
    )


def replaced_tasks_in_chain(work: Running) -> Any:
    return [
        run(work.add.s(1, 1) | task.s() | work.same.s())
        for task in (work.replaced, work.replaced_by_group, work.replaced_by_chain, work.replaced_by_chord)
    ]


def replaced_tasks_in_group(work: Running) -> Any:
    tasks = work.replaced, work.replaced_by_group, work.replaced_by_chain, work.replaced_by_chord
    return get(work.group(task.s(1) for task in tasks)())


def replaced_tasks_in_chord(work: Running) -> Any:
    tasks = work.replaced, work.replaced_by_group, work.replaced_by_chain, work.replaced_by_chord
    return get(work.chord([task.s(1) for task in tasks])(work.same.s())), [
        get(work.chord([work.same.s(1), work.same.s(2)])(work.total.s() | task.s() | work.same.s())) for task in tasks
    ]


def replaced_tasks_with_callbacks(work: Running) -> Any:
    work.replaced.apply_async((1,), link=work.note.s("linked"))
    first = work.noted(1)
    work.replaced_by_failure.apply_async(link_error=work.note.si("failed"))
    return first, work.noted(1)


def replaced_task_keeps_its_id(work: Running) -> Any:
    result = work.replaced_by_ids.delay()
    found = get(result)
    return found[0] == result.id, found[1] == result.id, found[2], result.parent


def members_that_are_retried(work: Running) -> Any:
    return (
        run(work.add.s(1, 1) | work.flaky.s() | work.add.s(1)),
        get(work.group(work.flaky.s(1), work.add.s(1, 1))()),
        get(work.chord([work.flaky.s(1), work.flaky.s(2, 2), work.add.s(1, 1)])(work.total.s())),
        get(work.chord([work.add.s(1, 1)])(work.total.s() | work.flaky.s())),
    )


def members_whose_retries_run_out(work: Running) -> Any:
    return _ended(work.never.delay()), _failure(work.chord([work.never.s(), work.add.s(1, 1)])(work.total.s()))


def ids_of_chain(work: Running) -> Any:
    result = (work.ids.s() | work.ids.si() | work.ids.si()).apply_async()
    last, middle, first = get(result), get(result.parent), get(result.parent.parent)
    root = result.parent.parent.id
    return (
        first[:2] == [root, root],
        first[2],
        middle[1] == root,
        middle[2] == root,
        last[1] == root,
        last[2] == result.parent.id,
        last[3],
    )


def ids_of_group(work: Running) -> Any:
    result = work.group(work.ids.si(i) for i in range(3))()
    found = get(result)
    return [
        (each[0] == result[index].id, each[1] == each[0], each[2], each[3] == result.id, each[4])
        for index, each in enumerate(found)
    ]


def ids_of_group_in_chain(work: Running) -> Any:
    result = (work.ids.si() | work.group(work.ids.si(), work.ids.si())).apply_async()
    found, first = get(result), result.parent.id
    return [(each[1] == first, each[2] == first, each[3] == result.id, each[4]) for each in found]


def ids_of_chord(work: Running) -> Any:
    result = (work.ids.si() | work.chord([work.ids.si(), work.ids.si()], work.ids.si())).apply_async()
    body = get(result)
    members = get(result.parent)
    root = members[0][1]
    return (
        body[1] == root,
        body[2] in {each[0] for each in members},
        body[3],
        [each[2] == root for each in members],
        [each[3] == result.parent.id for each in members],
        [each[4] for each in members],
    )


def ids_of_callbacks(work: Running) -> Any:
    result = work.add.apply_async((1, 1), link=work.noting_ids.s())
    get(result)
    ((own, root, parent),) = work.noted(1)
    return own != result.id, root == result.id, parent == result.id


def ids_of_calls_within_tasks(work: Running) -> Any:
    result = work.calling.delay()
    own, inner, last = get(result)
    found = get(work.app.AsyncResult(inner)), get(work.app.AsyncResult(last))
    return [(each[1] == own, each[2] == own) for each in found]


def children_of_task(work: Running) -> Any:
    result = work.calling_more.delay()
    return get(result), [(type(each).__name__, get(each)) for each in result.children]


def collected_results(work: Running) -> Any:
    result = work.spawning.delay(2)
    get(result)
    for _ in range(200):
        if len(list(result.iterdeps(intermediate=True))) > 2:
            break
        time.sleep(0.01)
    values = [value for _, value in result.collect(intermediate=True, timeout=10, interval=0.01)]
    return values, result.get_leaf(), [type(each).__name__ for each in (result.build_graph(intermediate=True),)]


def results_as_tuples(work: Running) -> Any:
    from_tuple = work.lib.module("result").result_from_tuple
    result = (work.add.s(1, 1) | work.group(work.add.s(1), work.add.s(2))).apply_async()
    get(result)
    made = from_tuple(result.as_tuple(), app=work.app)
    return (
        made == result,
        get(made),
        type(made.parent).__name__,
        len(result.as_tuple()),
        type(result.as_tuple()).__name__,
    )


def signatures_as_json(work: Running) -> Any:
    import json

    def sent_again(sig: Any) -> Any:
        return run(work.signature(json.loads(json.dumps(sig)), app=work.app))

    return (
        sent_again(work.add.s(1, 2)),
        sent_again(work.add.s(1, 2) | work.add.s(3)),
        sent_again(work.group(work.add.s(1, 2), work.add.s(3, 4))),
        sent_again(work.chord([work.add.s(1, 2), work.add.s(3, 4)], work.total.s())),
        sent_again(work.add.s(1, 1) | work.group(work.add.s(1), work.add.s(2)) | work.total.s()),
    )


def signatures_as_arguments(work: Running) -> Any:
    return get(work.app.AsyncResult(run(work.run_signature.s(work.add.s(1, 2))))), run(
        work.same.s(work.add.s(1))
    ) == dict(work.add.s(1))


def map_starmap_and_chunks(work: Running) -> Any:
    return (
        get(work.same.map([1, 2, 3]).delay()),
        get(work.add.starmap([(1, 2), (3, 4)]).apply_async()),
        get(work.add.chunks([(1, 2), (3, 4), (5, 6)], 2)()),
        get(work.add.chunks(((i, i) for i in range(5)), 2).group()()),
        get(work.add.chunks([(1, 2), (3, 4), (5, 6)], 2).apply_async()),
        get(work.add.map([]).delay()),
        run(work.same.map([1, 2]) | work.total.s()),
        get(work.chord([work.same.map([1, 2]), work.same.map([3])])(work.total.s())),
    )


def members_whose_results_are_ignored(work: Running) -> Any:
    return (
        run(work.add.s(1, 1).set(ignore_result=True) | work.add.s(2)),
        get(work.chord([work.add.s(1, 1), work.add.s(2, 2)])(work.total.s())),
        work.add.apply_async((1, 2), ignore_result=True).get(),
    )


def clones_and_reuse(work: Running) -> Any:
    sig, chain = work.add.s(1, 1), work.add.s(1, 1) | work.add.s(2)
    chord = work.chord([work.add.s(1, 1)], work.total.s())
    return [run(sig), run(sig)], [run(chain), run(chain)], [run(chord), run(chord)], run(sig.clone((5,)))


def tasks_added_to_chord(work: Running) -> Any:
    return sorted(get(work.chord([work.adding.s(1), work.same.s(2)])(work.same.s())))


def stamped_workflow(work: Running) -> Any:
    sig = work.chain(work.stamps.si(), work.group(work.stamps.si(), work.stamps.si()))
    sig.stamp(mine="value")
    result = sig.apply_async()
    return get(result), get(result.parent)


def abandoned_members(work: Running) -> Any:
    result = work.group(work.same.s(1), work.same.s(2)).apply_async()
    get(result)
    result.forget()
    return [each.state for each in result]


def ids_of_chord_alone(work: Running) -> Any:
    result = work.chord([work.ids.si(), work.ids.si()], work.ids.si())()
    body, members = get(result), get(result.parent)
    return (
        [each[1] == each[0] for each in members],
        [each[2] for each in members],
        body[1] == members[0][0],
        body[1] == body[0],
        body[2] in {each[0] for each in members},
        body[3] == result.parent.id,
        body[3],
    )
