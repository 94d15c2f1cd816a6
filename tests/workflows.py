"""Random workflows, the values that plain Python computes for them, and their tasks in an application.

A workflow is a tuple: ``("task", tag, immutable)``, ``("failing", tag)``, ``("chain", steps)``, ``("group", members)``,
``("chord", members, body)``, or ``("replaced", workflow)`` for a task that a workflow replaces. A task's value is
``[tag, *arguments]``, so a value shows every task that contributed to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from taskq_cloud import TaskQ, chain, chord, group
from taskq_cloud.results.group_result import GroupResult

TAGS = st.sampled_from("abcd")
TASKS = st.tuples(st.just("task"), TAGS, st.booleans())
FAILING = st.tuples(st.just("failing"), TAGS)


def workflows(*, failing: bool = True) -> Any:
    leaves = st.one_of(TASKS, TASKS, TASKS, FAILING) if failing else TASKS

    ending_well = st.lists(st.one_of(leaves), max_size=2).map(lambda steps: [*steps, ("task", "z", False)])

    def larger(inner: Any) -> Any:
        several = st.lists(inner, max_size=3)
        as_chain = st.tuples(st.just("chain"), st.tuples(several, ending_well).map(lambda both: [*both[0], *both[1]]))
        as_group = st.tuples(st.just("group"), st.lists(leaves, min_size=1, max_size=2))
        return st.one_of(
            st.tuples(st.just("replaced"), inner),
            st.tuples(st.just("chain"), several),
            st.tuples(st.just("group"), several),
            st.tuples(st.just("chord"), several, st.one_of(leaves, as_chain, as_group)),
        )

    return st.recursive(leaves, larger, max_leaves=9)


def chords_that_grow() -> Any:
    """Chords whose members add further members, some of which add members too."""
    plain = st.one_of(TASKS, TASKS, FAILING)
    adding = st.recursive(
        plain, lambda inner: st.tuples(st.just("adding"), TAGS, st.lists(inner, max_size=3)), max_leaves=6
    )
    return st.tuples(st.just("chord"), st.lists(adding, min_size=1, max_size=3), TASKS)


# -- plain Python


@dataclass(frozen=True)
class Failure:
    kind: str


def evaluate(node: Any, args: tuple[Any, ...] = ()) -> Any:  # noqa: C901, PLR0911 - one return a kind
    """The value of a workflow: a value, a ``Failure``, or a list of both if the workflow ends in a group."""
    match node:
        case ("adding", tag, *_):
            return [tag, *args]
        case ("task", tag, immutable):
            return [tag] if immutable else [tag, *args]
        case ("failing", _):
            return Failure("ValueError")
        case ("collected",):
            return args[0]
        case ("replaced", instead):
            return _replaced_by(instead)
        case ("chain", _):
            return _one_by_one(effective(node), args)
        case ("group", members):
            values: list[Any] = []
            for each in members:
                if is_nothing(each):
                    continue
                value = evaluate(each, args)
                values += value if each[0] == "group" else [value]
            return values
        case ("chord", members, body):
            return _one_by_one([("header", members), body], args)
        case ("header", members):
            return evaluate(("group", members), args) + [evaluate(each) for each in all_added(members)]
    raise AssertionError(node)


def all_added(members: Any) -> list[Any]:
    """All members that the members of a header add, then the members that these add, and so on."""
    now = [each for member in members if member[0] == "adding" for each in member[2]]
    return [*now, *all_added(now)] if now else []


def _replaced_by(instead: Any) -> Any:
    if is_nothing(instead):
        return Failure("ImproperlyConfigured")
    steps = effective(instead) if instead[0] == "chain" else [instead]
    return _one_by_one([*steps, ("collected",)] if ends_in_group(instead) else steps, ())


def _one_by_one(steps: list[Any], args: tuple[Any, ...]) -> Any:
    value: Any = None
    for index, step in enumerate(steps):
        value = evaluate(step, args)
        if index == len(steps) - 1:
            break
        if isinstance(value, Failure):
            return doomed(steps[-1], value)
        if holds_failure(value):
            return doomed(steps[-1], Failure("ChordError"))
        args = (value,)
    return value


def doomed(node: Any, failure: Failure) -> Any:
    """The value of a workflow that does not begin because a task before it has failed."""
    match node:
        case ("task" | "failing" | "replaced" | "collected", *_):
            return failure
        case ("chain", _):
            return doomed(effective(node)[-1], failure)
        case ("group", members):
            values: list[Any] = []
            for each in members:
                if not is_nothing(each):
                    value = doomed(each, failure)
                    values += value if each[0] == "group" else [value]
            return values
        case ("chord", _, body):
            return doomed(body, failure)
    raise AssertionError(node)


def effective(chain_node: Any) -> list[Any]:
    """A chain's steps as they run.

    Inner chains become part of the chain, and a group of one is its member. An empty group is left out unless the chain
    has nothing else.
    """
    steps: list[Any] = []
    empty: list[Any] = []
    for step in chain_node[1]:
        match step:
            case ("chain", _):
                inner = effective(step)
                if inner == [("group", [])]:
                    empty = inner
                else:
                    steps += inner
            case ("group", members):
                members = [each for each in flat(members) if not is_nothing(each)]
                if len(members) == 1:
                    only = members[0]
                    steps += effective(("chain", [only])) if only[0] == "chain" else [only]
                elif members:
                    steps.append(("group", members))
                else:
                    empty = [("group", [])]
            case _:
                steps.append(step)
    return steps or empty


def flat(members: list[Any]) -> list[Any]:
    return [part for each in members for part in (flat(each[1]) if each[0] == "group" else [each])]


def ends_in_group(node: Any) -> bool:
    match node:
        case ("group", _):
            return True
        case ("chain", _):
            return ends_in_group(effective(node)[-1])
        case ("chord", _, body):
            return ends_in_group(body)
    return False


def is_nothing(node: Any) -> bool:
    return node[0] == "chain" and not effective(node)


def holds_failure(value: Any) -> bool:
    return isinstance(value, Failure) or (isinstance(value, list) and any(map(holds_failure, value)))


# -- the application


def make_app(**settings: Any) -> TaskQ:
    app = TaskQ("flow", **settings)

    @app.task(name="task")
    def task(*args: Any, tag: str) -> list[Any]:
        return [tag, *args]

    @app.task(name="failing")
    def failing(*args: Any, tag: str) -> None:
        raise ValueError(tag)

    @app.task(name="adding", bind=True)
    def adding(self: Any, *args: Any, tag: str, added: Any, lazy: bool = False) -> Any:
        for each in added:
            workflow = build(app, each)
            if lazy:
                self.add_to_chord(workflow, lazy=True).delay()
            else:
                self.add_to_chord(workflow)
        return [tag, *args]

    @app.task(name="replaced", bind=True)
    def replaced(self: Any, *_: Any, instead: Any) -> Any:
        return self.replace(build(app, instead))

    return app


def build(app: Any, node: Any, kinds: Any = (chain, group, chord)) -> Any:  # noqa: PLR0911 - one return a kind
    make_chain, make_group, make_chord = kinds
    match node:
        case ("task", tag, immutable):
            return app.tasks["task"].signature(kwargs={"tag": tag}, immutable=immutable)
        case ("failing", tag):
            return app.tasks["failing"].s(tag=tag)
        case ("adding", tag, added, *lazy):
            return app.tasks["adding"].s(tag=tag, added=added, lazy=bool(lazy))
        case ("replaced", instead):
            return app.tasks["replaced"].s(instead=instead)
        case ("chain", steps):
            return make_chain([build(app, each, kinds) for each in steps])
        case ("group", members):
            return make_group([build(app, each, kinds) for each in members])
        case ("chord", members, body):
            return make_chord([build(app, each, kinds) for each in members], build(app, body, kinds))
    raise AssertionError(node)


def outcome(result: Any) -> Any:
    """The value of a result, in the form of ``evaluate``."""
    if isinstance(result, GroupResult):
        return [outcome(each) for each in result]
    state = result.load()
    assert state.ready, f"{result} is {state.state}"
    return Failure(type(state.result).__name__) if state.state == "FAILURE" else state.result
