"""Details of workflows that code written for Celery relies on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock, patch

import pytest

from tests.celery.canvas.sides import Side
from tests.celery.canvas.test_composing import Alike

DETAILS: dict[str, Callable[[Side], Any]] = {
    "names": lambda s: [
        s.Signature.partial is s.Signature.clone,
        sorted(s.Signature.TYPES),
        s.chord is s._chord,
        s.subtask is s.signature,
        issubclass(s.chain, s._chain),
    ],
    "group_of_group": lambda s: [
        group := s.group(s.add.s(1, 1), s.add.s(2, 2)),
        s.group(group),
        s.group([group]),
        s.group(group).tasks is group.tasks,
        len(group),
    ],
    "equality": lambda s: [s.add.s(1) == s.add.s(1), s.add.s(1) == dict(s.add.s(1)), s.add.s(1) != s.add.s(2)],
    "hash": lambda s: {s.add.s(1)},
    "shallow_copy": lambda s: [copy.copy(s.chain(s.add.s(1), s.add.s(2))), type(copy.copy(s.add.s(1))).__name__],
    "chain_with_other_values": lambda s: s.chain(s.add.s(1), 5),
    "group_of_no_iterable": lambda s: list(s.group(5).tasks),
    "chord_of_other_values": lambda s: s.chord([5], s.tsum.s()),
    "unknown_type": lambda s: s.Signature.from_dict({"task": "x", "subtask_type": "nope"}),
    "signature_of_everything": lambda s: s.signature(
        "x", args=(1,), kwargs={"a": 1}, immutable=True, task_id="t", app=s.app
    ),
    "from_dicts": lambda s: [
        s.chain.from_dict(dict(s.chain(s.add.s(1), s.add.s(2))), app=s.app),
        s.group.from_dict(dict(s.group(s.add.s(1))), app=s.app),
        s.chord.from_dict(dict(s.chord([s.add.s(1)], s.tsum.s())), app=s.app),
        s.chunks.from_dict(dict(s.add.chunks([(1, 2)], 1)), app=s.app),
        s.xmap.from_dict(dict(s.add.map([1])), app=s.app),
    ],
    "texts_of_maps": lambda s: [
        str(s.add.map(range(200))),
        str(s.add.starmap([(1, 2)])),
        str(s.add.chunks([(1, 2)], 3)),
    ],
    "text_of_chord_without_body": lambda s: repr(s.chord(s.add.s(i, i) for i in range(3))),
    "apps": lambda s: [
        s.chain(s.add.s(1)).app is s.app,
        s.chord([s.add.s(1)]).app is s.app,
        s.group(s.add.s()).app is s.app,
    ],
    "chord_without_body": lambda s: s.chord([s.add.s(1, 1)]).apply_async(),
    "frozen_chord_without_body": lambda s: s.chord([s.add.s(1, 1)]).freeze(),
    "empty_chain_waited_for": lambda s: ~s.chain(),
    "link_of_empty_group": lambda s: s.group(app=s.app).link(s.same.s()),
    "ids_of_call": lambda s: s.chain(s.add.s(1, 1), s.add.s(1)).apply_async(root_id="r", parent_id="p"),
    "group_ids": lambda s: s.group([s.add.s(1, 1)])._freeze_gid({"task_id": "x", "a": 1}),
    "prepared_group": lambda s: list(
        s.group()._prepared([s.add.s(1), s.group(s.add.s(2), s.add.si(4)), s.chain()], [9], "g", "r", s.app)
    ),
    "eager_chain": lambda s: s.chain(s.add.s(1, 1), s.add.s(1)).apply(),
    "eager_group": lambda s: s.group(s.add.s(1, 1), s.add.s(1, 2)).apply(),
    "body_of_call": lambda s: [chord := s.chord([s.add.s(1, 1)]), chord(s.tsum.s()), chord],
    "subclass_of_chain": lambda s: [
        kind := type("mine", (s.chain,), {}),
        type(kind(s.add.s(1, 2), s.add.s(3))).__name__,
        type(kind(s.add.s(1, 2)) | s.add.s(1)).__name__,
        kind([s.add.s(1), s.group(s.add.s(1), s.add.s(2)), s.tsum.s()]),
    ][1:],
}


@pytest.mark.parametrize("detail", DETAILS)
def test_detail_is_celerys(alike: Alike, detail: str) -> None:
    alike(DETAILS[detail])


def test_members_of_a_generated_group_are_called_once_each(alike: Alike) -> None:
    def scenario(s: Side) -> Any:
        with patch.object(s.Signature, "apply_async") as called:
            result = s.group(s.add.si(0, 0) for _ in range(5)).apply_async()
        return [called.call_count, len(result.children), len(result)]

    alike(scenario)


def test_sizes_of_nested_chords_are_told_as_in_celery(alike: Alike) -> None:
    def scenario(s: Side) -> Any:
        chord = s.chord((s.add.si(0, 0),) * 4, s.add.si(0, 0))
        with patch.object(s.app.backend, "set_chord_size") as sized, patch.object(s.Signature, "apply_async") as called:
            s.group((chord,)).apply_async()
            s.chord((chord, s.group(s.add.s(1), s.add.s(2))), s.tsum.s()).apply_async()
        return [called.call_count, [call.args[1] for call in sized.call_args_list]]

    alike(scenario)


def test_options_of_a_chord_are_divided_as_in_celery(alike: Alike) -> None:
    def scenario(s: Side) -> Any:
        run = Mock(return_value=None)
        with patch.object(s.chord, "run", run):
            s.chord([s.add.s(1, 1)], s.tsum.s()).apply_async((1,), {"k": 1}, countdown=3, queue="q", link=[s.add.s(1)])
        return [run.call_args.args[1:], sorted(run.call_args.kwargs), run.call_args.kwargs.get("header_delay")]

    alike(scenario)


def test_options_of_a_chain_are_given_to_run_as_in_celery(alike: Alike) -> None:
    def scenario(s: Side) -> Any:
        with patch.object(s._chain, "run", Mock(return_value=None)) as run:
            s.chain(s.add.s(1, 1), app=s.app).apply_async((1,), {"k": 2}, task_id="t", queue="q")
        return [run.call_args.args, sorted(run.call_args.kwargs)]

    alike(scenario)


def test_clone_shares_no_mapping_with_its_original(ours: Side) -> None:
    sig = ours.add.s(1).set(link=[ours.same.s()])
    sig.kwargs["a"] = 1
    clone = sig.clone()
    clone.kwargs["b"] = 2
    clone.options["c"] = 3
    clone.options["link"].append(ours.same.s())
    assert sig.kwargs == {"a": 1}
    assert sig.options == {"link": [ours.same.s()]}


def test_abstract_classes_know_tasks_and_signatures(alike: Alike) -> None:
    def scenario(s: Side) -> Any:
        module = s.module("utils.abstract")
        task = type("task", (), dict.fromkeys(("delay", "apply_async", "apply")))
        sig = type("sig", (task,), dict.fromkeys(("clone", "freeze", "set", "link", "link_error", "__or__")))
        classes = (module.CallableTask, module.CallableSignature)
        return [
            [[issubclass(each, kind) for kind in classes] for each in (task, sig, dict, s.Signature)],
            [[isinstance(each, kind) for kind in classes] for each in (s.add, s.add.s(), s.group())],
            [[sorted(kind.__abstractmethods__), sorted(kind.__required_attributes__)] for kind in classes],
            classes[0].register(type("other", (), {})).__name__,
        ]

    alike(scenario)
