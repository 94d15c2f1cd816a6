"""Changes in place have Celery's effects: options, links, immutability, ids and counts."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.celery.canvas.sides import Side
from tests.celery.canvas.test_composing import KINDS, Alike, described, kinds

CHANGES: dict[str, Callable[[Side, Any], Any]] = {
    "set": lambda s, sig: sig.set(countdown=3, queue="q"),
    "set_immutable": lambda s, sig: sig.set(immutable=True, expires=3),
    "set_immutable_method": lambda s, sig: sig.set_immutable(True),
    "link": lambda s, sig: sig.link(s.add.s(9)),
    "link_twice": lambda s, sig: [sig.link(s.add.s(9)), sig.link(s.add.s(9)), sig.link(s.add.s(8))],
    "link_error": lambda s, sig: sig.link_error(s.many.s()),
    "link_error_dict": lambda s, sig: sig.link_error(dict(s.many.s())),
    "on_error": lambda s, sig: sig.on_error(s.many.s()),
    "append_to_list_option": lambda s, sig: [sig.append_to_list_option("a", 1), sig.append_to_list_option("a", 1)],
    "append_to_scalar": lambda s, sig: [sig.set(a=5), sig.append_to_list_option("a", 6)],
    "extend_list_option": lambda s, sig: [sig.extend_list_option("a", 1), sig.extend_list_option("a", [2, 3])],
    "extend_tuple": lambda s, sig: [sig.set(a=(1,)), sig.extend_list_option("a", 2)],
    "clone_with_options": lambda s, sig: sig.clone(task_id="t", link=[s.add.s(1)]),
    "clone_with_args": lambda s, sig: sig.clone((1, 2), {"a": 3}),
    "partial": lambda s, sig: sig.partial((1,)),
    "replace_options": lambda s, sig: sig.replace(options={"a": 1}, kwargs={"k": 1}),
    "merge": lambda s, sig: [sig._merge((1,), {"a": 1}, {"b": 2}), sig._merge((1,), force=True), sig._merge()],
    "merge_fixed": lambda s, sig: [
        sig.set(group_id="g", stamped_headers=["st"], st=1),
        sig._merge(options={"group_id": "h", "stamped_headers": ["x"], "st": 2, "x": 3}),
    ],
    "freeze": lambda s, sig: sig.freeze(),
    "freeze_twice": lambda s, sig: [sig.freeze(), sig.freeze("other")],
    "freeze_with_all": lambda s, sig: sig.freeze(
        "i", group_id="g", chord=s.tsum.s(), root_id="r", parent_id="p", group_index=2
    ),
    "freeze_private": lambda s, sig: sig._freeze("i"),
    "freeze_clone": lambda s, sig: [sig.freeze(), sig.clone().freeze()],
    "freeze_joined": lambda s, sig: (sig | s.add.s(1) | s.group(s.add.s(1), s.add.s(2)) | s.tsum.s()).freeze(),
    "freeze_as_body": lambda s, sig: [chord := s.chord([s.add.s(1)], sig), chord.freeze()],
    "freeze_as_member": lambda s, sig: [group := s.group(s.add.s(1), sig), group.freeze()],
    "freeze_in_raw_chain": lambda s, sig: [
        chain := s._chain(s.add.s(1), sig, s.add.s(2), app=s.app),
        chain.freeze(),
    ],
    "prepare_steps": lambda s, sig: s._chain(sig, s.add.s(2), app=s.app).prepare_steps(
        (7,), {"k": 1}, [s.add.s(0), sig, s.add.s(2)], root_id="r", link_error=[s.many.s()], last_task_id="last"
    ),
    "prepare_first": lambda s, sig: s._chain(app=s.app).prepare_steps((7,), {}, [sig, s.add.s(2)]),
    "prepare_alone": lambda s, sig: s._chain(app=s.app).prepare_steps((7,), {}, [sig], group_id="g", chord_body="b"),
    "prepare_in_place": lambda s, sig: s._chain(app=s.app).prepare_steps((7,), {}, [sig, s.same.s()], clone=False),
    "prepare_linked": lambda s, sig: s._chain(s.add.s(1), use_link=True, app=s.app).prepare_steps(
        (), {}, [s.add.s(0), sig, s.same.s()]
    ),
    "prepare_dicts": lambda s, sig: s._chain(app=s.app).prepare_steps((), {}, [dict(s.add.s(0)), dict(sig)]),
    "descend": lambda s, sig: [s._chord._descend(sig), s._chord._descend(dict(sig))],
    "length_hint": lambda s, sig: s.chord([sig, s.add.s(1)]).__length_hint__(),
    "maybe_unroll_group": lambda s, sig: s.maybe_unroll_group(s.group(sig)),
    "maybe_group": lambda s, sig: [s._maybe_group(sig, s.app), s._maybe_group(dict(sig), s.app)],
    "maybe_group_of_list": lambda s, sig: s._maybe_group([sig, dict(sig)], s.app),
    "maybe_group_of_generator": lambda s, sig: s._maybe_group((each for each in [sig]), s.app),
    "maybe_signature": lambda s, sig: [
        s.maybe_signature(sig) is sig,
        s.maybe_signature(sig, clone=True) is sig,
        s.maybe_signature(dict(sig), app=s.app),
        s.maybe_signature(None),
    ],
    "signature": lambda s, sig: [s.signature(sig) is sig, s.signature(dict(sig), app=s.app), s.subtask(sig)],
    "task_name_from": lambda s, sig: [s.task_name_from(sig), s.task_name_from("n"), s.task_name_from(s.add)],
    "in": lambda s, sig: ["task" in sig, sig.get("nothing"), len(sig), bool(sig)],
    "stamp_headers": lambda s, sig: sig._stamp_headers({"a": 1}, True, b=2),
}


# The header of a chord keeps its id here when a frozen workflow is frozen again, or copied, as all other tasks do. In
# Celery it gets another, so that the results of a frozen workflow are not those of the workflow that is sent.
_FREEZES_AGAIN = ("freeze_twice", "freeze_clone")
# Celery can't make a group's result with a chord that has no body; the error tells nothing of that.
_DIFFERENT = {
    *((kind, change) for kind in KINDS for change in _FREEZES_AGAIN if "chord" in kind or "chain_" in kind),
    *(("raw_chain", change) for change in _FREEZES_AGAIN),
    ("chord_without_body", "freeze_as_member"),
}


@pytest.mark.parametrize(
    ("kind", "change"), [(kind, change) for kind in KINDS for change in CHANGES if (kind, change) not in _DIFFERENT]
)
def test_change_has_celerys_effect(alike: Alike, kind: str, change: str) -> None:
    def scenario(s: Side) -> Any:
        sig = KINDS[kind](s)
        try:
            changed = CHANGES[change](s, sig)
        except Exception as error:
            changed = [type(error).__name__, str(error)]
        return [described(changed), described(sig)]

    alike(scenario)


@pytest.mark.parametrize("seed", range(60))
def test_random_changes_have_celerys_effects(alike: Alike, seed: int) -> None:
    def scenario(s: Side) -> Any:
        rng = random.Random(seed)
        sig = KINDS[rng.choice(list(KINDS))](s)
        outcomes = []
        quiet = [name for name in CHANGES if not name.startswith(("freeze", "prepare"))]
        for name in [*rng.choices(quiet, k=3), rng.choice([name for name in CHANGES if name not in _FREEZES_AGAIN])]:
            try:
                outcomes.append(copy.copy(CHANGES[name](s, sig)))
            except Exception as error:
                outcomes.append(type(error).__name__)
        return [outcomes, described(sig)]

    alike(scenario)


@kinds
def test_frozen_workflow_keeps_all_ids_when_frozen_again(ours: Side, kind: str) -> None:
    sig = KINDS[kind](ours)
    if kind not in ("empty_chain", "chord_without_body"):  # which have no result
        first = sig.freeze().as_tuple()
        assert sig.freeze().as_tuple() == first
        assert kind == "group_of_one_group" or sig.clone().freeze().as_tuple() == first


def test_skew_gives_celerys_countdowns(alike: Alike) -> None:
    def scenario(s: Side) -> Any:
        group = s.group(s.add.s(i) for i in range(6))
        return [
            [task.options for task in group.skew(**steps).tasks]
            for steps in ({}, {"start": 1, "stop": 4}, {"start": 0, "stop": 1, "step": 0.5}, {"start": 9, "stop": 3})
        ]

    alike(scenario)


def test_registered_type_is_made_of_its_dict(alike: Alike) -> None:
    def scenario(s: Side) -> Any:
        mine = type("mine", (s.Signature,), {"from_dict": classmethod(lambda cls, d, app=None: cls(d, app=app))})
        before = dict(s.Signature.TYPES)
        s.Signature.register_type()(mine)
        s.Signature.register_type("named")(mine)
        found = [type(s.signature({"task": "t", "subtask_type": kind})).__name__ for kind in ("mine", "named")]
        for name in set(s.Signature.TYPES) - set(before):
            del s.Signature.TYPES[name]
        return [found, sorted(s.Signature.TYPES)]

    alike(scenario)


def test_names_of_the_module_are_celerys(theirs: Side, ours: Side) -> None:
    module = ours.module("canvas")
    own = [
        name for name, value in vars(theirs.module("canvas")).items() if "canvas" in getattr(value, "__module__", "")
    ]
    missing = [name for name in own if not hasattr(module, name)]
    # Functions by which Celery's modules hide their steps from each other.
    assert set(missing) <= {
        "_add_members", "_clear_chord_option", "_clone_with_members", "_first_task_options", "_fold_chain",
        "_is_chain_led_by_task", "_is_empty_group", "_link_error_to_body_tasks", "_merge_chain_step",
        "_prepare_chain_from_options", "_stamp_regen_task", "_strip_chord_header_links",
    }  # fmt: skip


@kinds
def test_methods_are_celerys(theirs: Side, ours: Side, kind: str) -> None:
    real, own = KINDS[kind](theirs), KINDS[kind](ours)
    public = {name for name in dir(real) if not name.startswith("_")}
    assert public <= set(dir(own))


@pytest.mark.parametrize("value", [True, False])
def test_errbacks_on_headers_are_celerys(alike: Alike, value: bool) -> None:
    def scenario(s: Side) -> Any:
        s.app.conf.task_allow_error_cb_on_chord_header = value
        try:
            nested = s.chord([s.chord([s.add.s(1)], s.tsum.s()), s.add.s(2)], s.chain(s.tsum.s(), s.add.s(1)))
            returned = nested.link_error(s.many.s())
        finally:
            s.app.conf.task_allow_error_cb_on_chord_header = False
        return [returned, nested]

    alike(scenario)


def test_errback_without_header_is_warned_of(theirs: Side, ours: Side) -> None:
    def said(s: Side) -> str:
        with pytest.warns(PendingDeprecationWarning) as caught:
            s.chord([s.add.s(1)], s.tsum.s()).link_error(s.many.s())
        assert type(caught[0].message).__name__ == "CPendingDeprecationWarning"
        assert caught[0].filename == __file__
        return " ".join(str(caught[0].message).split())

    assert said(ours) == said(theirs)
