"""Utilities: each call is made with Celery's function and with ours, and both must come to the same outcome."""

import importlib
import io
import itertools
import json
import math
import pickle
import re
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from types import ModuleType
from typing import Any, ClassVar

import celery
import celery.utils
import pytest

import taskq_cloud.celery
import taskq_cloud.celery.utils

NAMES = [
    "annotations",
    "debug",
    "deprecated",
    "functional",
    "graph",
    "imports",
    "log",
    "nodenames",
    "objects",
    "quorum_queues",
    "sysinfo",
    "term",
    "text",
    "threads",
    "timer2",
]


def _modules(name: str) -> tuple[ModuleType, ModuleType]:
    return tuple(importlib.import_module(f"{package}.utils.{name}") for package in ("celery", "taskq_cloud.celery"))  # type: ignore[return-value]


def _outcome(call: Callable[[], Any]) -> tuple[str, Any]:
    try:
        value = call()
    except Exception as error:
        return "raised", (type(error).__name__, str(error))
    if isinstance(value, Iterator):
        value = list(value)
    return "returned", value


@pytest.mark.parametrize("name", NAMES)
def test_modules_have_celerys_public_names(name: str) -> None:
    theirs, ours = _modules(name)
    missing = [each for each in getattr(theirs, "__all__", ()) if not hasattr(ours, each)]
    assert missing == (["bound_open_broker_sockets"] if name == "threads" else [])


def test_package_has_celerys_public_names() -> None:
    assert set(taskq_cloud.celery.utils.__all__) == set(celery.utils.__all__)


kombu_lazy: Any = importlib.import_module("kombu.utils.functional").lazy
promise: Any = importlib.import_module("vine").promise


class Plain:
    a = 1

    def method(self, x: int, *args: Any, y: int = 2, **kwargs: Any) -> None:
        """A method whose arguments are looked at."""

    def __call__(self, x: int, y: int = 1) -> None:
        """A call whose arguments are looked at."""


def several(a: int, b: int = 2, *, c: int, d: int = 4) -> None:
    """A function whose arguments are looked at."""


CALLS: dict[str, list[tuple[str, tuple[Any, ...], dict[str, Any]]]] = {
    "functional": [
        ("is_list", ([1],), {}),
        ("is_list", ("text",), {}),
        ("is_list", ({},), {"scalars": None}),
        ("maybe_list", (None,), {}),
        ("maybe_list", (1,), {}),
        ("maybe_list", ((1,),), {}),
        ("dictfilter", ({"a": None, "b": 1},), {"c": None, "d": 2}),
        ("dictfilter", (), {"a": None, "b": 1}),
        ("noop", (1,), {"x": 2}),
        ("pass1", (1, 2), {"x": 3}),
        ("padlist", (["a"], 3), {"default": "x"}),
        ("padlist", (["a", "b", "c"], 2), {}),
        ("uniq", ([3, 1, 3, 2, 1],), {}),
        ("lookahead", ("abc",), {}),
        ("lookahead", ("",), {}),
        ("chunks", (iter(range(11)), 3), {}),
        ("maybe", (int, "3"), {}),
        ("maybe", (int, None), {}),
        ("first", (lambda value: value > 2, [1, 3, 4]), {}),
        ("first", (None, [None, 0, 1]), {}),
        ("first", (None, []), {}),
        ("seq_concat_item", ([1], 2), {}),
        ("seq_concat_item", ((1,), 2), {}),
        ("seq_concat_seq", ([1], (2, 3)), {}),
        ("seq_concat_seq", ((1, 2), [3]), {}),
        ("seq_concat_seq", ((1,), [3]), {}),
        ("is_numeric_value", (1.5,), {}),
        ("is_numeric_value", (True,), {}),
        ("arity_greater", (several, 1), {}),
        ("arity_greater", (several, 2), {}),
        ("fun_takes_argument", ("b", several), {}),
        ("fun_takes_argument", ("z", several), {}),
        ("fun_takes_argument", ("z", several), {"position": 2}),
        ("fun_accepts_kwargs", (several,), {}),
        ("fun_accepts_kwargs", (Plain().method,), {}),
        ("fun_accepts_kwargs", (dict,), {}),
        ("evaluate_promises", ([1, 2],), {}),
    ],
    "text": [
        ("str_to_list", ("a,b",), {}),
        ("str_to_list", (["a"],), {}),
        ("dedent", ("    a\n  b\n     c",), {}),
        ("dedent_initial", ("   a",), {"n": 2}),
        ("fill_paragraphs", ("one two three\nfour five", 8), {}),
        ("join", (["a", "", None, "b"],), {}),
        ("ensure_sep", ("\n", "a\n"), {}),
        ("ensure_newlines", ("a", 3), {}),
        ("abbr", ("abcdef", 4), {}),
        ("abbr", ("abcdef", 3), {}),
        ("abbr", ("abcdef", 4, None), {}),
        ("abbr", (None, 4), {}),
        ("abbr", ("abc", 4), {}),
        ("abbrtask", ("project.tasks.add", 12), {}),
        ("abbrtask", ("add", 12), {}),
        ("abbrtask", (None, 12), {}),
        ("indent", ("a\nb", 2), {}),
        ("truncate", ("one two three", 9), {}),
        ("truncate", ("one", 9), {}),
        ("truncate", ("one two", 0), {}),
        ("pluralize", (1, "task"), {}),
        ("pluralize", (0, "task"), {}),
        ("pluralize", (2, "box", "es"), {}),
        ("pretty", ({"a": list(range(40))},), {}),
        ("pretty", ((1, "two"),), {}),
        ("pretty", (["x" * 50, "y" * 50],), {}),
        ("match_case", ("a", "B"), {}),
        ("match_case", ("A", "b"), {}),
        ("simple_format", ("%n@%h %%", {"n": "w", "h": lambda: "host"}), {}),
        ("simple_format", ("%x", {"n": "w"}), {}),
        ("simple_format", ("", {}), {}),
        ("remove_repeating_from_task", ("tasks.add", "tasks.add(2), tasks.mul(3), mytasks.mul(4), a-tasks.x"), {}),
        ("remove_repeating_from_task", ("add", "add(2)"), {}),
        ("remove_repeating", ("x.", "x.a|x.x.b|y.x.c"), {}),
        ("remove_repeating", ("x.", "y.a"), {}),
    ],
    "nodenames": [
        ("nodename", ("w1", "host"), {}),
        ("nodesplit", ("w1@host@more",), {}),
        ("nodesplit", ("host",), {}),
        ("anon_nodename", (), {}),
        ("anon_nodename", ("host",), {"prefix": "x"}),
        ("default_nodename", ("host",), {}),
        ("default_nodename", ("w1@",), {}),
        ("default_nodename", (None,), {}),
        ("default_nodename", ("host", "beat"), {}),
        ("node_format", ("%n %h %d %p %i %I %%", "w1@host.example.com"), {}),
        ("node_format", ("%n", "host"), {}),
        ("host_format", ("%n %h %d %x",), {"host": "a.b.c", "x": "extra"}),
        ("host_format", ("%q",), {}),
        ("gethostname", (), {}),
    ],
    "imports": [
        ("qualname", (Plain,), {}),
        ("qualname", (Plain(),), {}),
        ("qualname", (Plain.method,), {}),
        ("qualname", (math.sqrt,), {}),
        ("symbol_by_name", ("math.sqrt",), {}),
        ("symbol_by_name", ("collections.abc:Mapping",), {}),
        ("symbol_by_name", ("json",), {}),
        ("symbol_by_name", (".abc:Mapping",), {"package": "collections"}),
        ("symbol_by_name", ("short", {"short": "math:pi"}), {}),
        ("symbol_by_name", (Plain,), {}),
        ("symbol_by_name", ("no.such.module",), {}),
        ("symbol_by_name", ("math:nothing",), {}),
        ("symbol_by_name", ("no.such.module",), {"default": 5}),
        ("symbol_by_name", ("..x:y",), {}),
        ("instantiate", ("collections:OrderedDict", [(1, 2)]), {}),
        ("find_module", ("json.decoder",), {}),
        ("find_module", ("json.decoder.deeper",), {}),
        ("find_module", ("no_such_module",), {}),
        ("import_from_cwd", ("json",), {}),
        ("module_file", (json,), {}),
        ("load_extension_class_names", ("celery.result_backends",), {}),
    ],
    "debug": [
        ("humanbytes", (0,), {}),
        ("humanbytes", (1023,), {}),
        ("humanbytes", (2048,), {}),
        ("humanbytes", (3.7 * 2**30,), {}),
        ("hfloat", (3.0,), {}),
        ("hfloat", (3.14159265,), {"p": 3}),
        ("sample", (list(range(100)), 10), {}),
        ("sample", (list(range(7)), 3), {"k": 2}),
    ],
    "annotations": [
        ("is_none_type", (type(None),), {}),
        ("is_none_type", (int,), {}),
        ("get_optional_arg", (int | None,), {}),
        ("get_optional_arg", (int | str,), {}),
        ("get_optional_arg", (int | str | None,), {}),
        ("get_optional_arg", (int,), {}),
        ("annotation_is_class", (int,), {}),
        ("annotation_is_class", (list[int],), {}),
        ("annotation_issubclass", (bool, int), {}),
        ("annotation_issubclass", ("text", int), {}),
    ],
    "sysinfo": [
        ("is_auto_concurrency", (" AUTO ",), {}),
        ("is_auto_concurrency", (4,), {}),
        ("available_cpu_count", (), {}),
        ("cgroup_cpu_quota", (), {}),
        ("cpu_budget", (False,), {}),
        ("cpu_budget", (), {}),
        ("_parse_quota", ("50000", "100000"), {}),
        ("_parse_quota", ("max", "100000"), {}),
        ("_parse_quota", ("-1", "100000"), {}),
    ],
    "log": [
        ("mlevel", ("info",), {}),
        ("mlevel", (10,), {}),
        ("mlevel", (None,), {}),
        ("mlevel", ("nonsense",), {}),
    ],
    "objects": [
        ("mro_lookup", (bool, "bit_length"), {}),
        ("mro_lookup", (bool, "nothing"), {}),
        ("mro_lookup", (bool, "bit_length"), {"stop": {int}}),
        ("mro_lookup", (Plain, "method"), {"stop": {Plain}}),
        ("mro_lookup", (Plain, "method"), {"stop": {Plain}, "monkey_patched": [__name__]}),
    ],
    "timer2": [
        ("to_timestamp", (5.5,), {}),
        ("to_timestamp", (datetime(1970, 1, 1, tzinfo=UTC),), {}),
    ],
}


@pytest.mark.parametrize(
    ("module", "name", "args", "kwargs"),
    [(module, *call) for module, calls in CALLS.items() for call in calls],
    ids=lambda value: re.sub(r" at 0x[0-9a-f]*", "", repr(value))[:40],  # the same in every process
)
def test_functions_come_to_celerys_outcome(module: str, name: str, args: tuple[Any, ...], kwargs: Any) -> None:
    # Two copies of an argument that is used up by the first call.
    copies = [list(each) if isinstance(each, Iterator) else each for each in args]
    outcomes = []
    for package in _modules(module):
        given = [
            iter(copied) if isinstance(each, Iterator) else copied for each, copied in zip(args, copies, strict=True)
        ]
        outcomes.append(_outcome(partial(getattr(package, name), *given, **kwargs)))
    assert outcomes[0] == outcomes[1]


@pytest.fixture(params=[0, 1], ids=["celery", "ours"])
def side(request: pytest.FixtureRequest) -> int:
    assert isinstance(request.param, int)
    return request.param


def any_arguments(*args: Any, key: Any, **kwargs: Any) -> None:
    """A function that takes any arguments, and needs one by its name."""


HEADS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (several, (1,), {"c": 3}),
    (several, (1, 2), {"c": 3, "d": 4}),
    (several, (1,), {}),
    (several, (1, 2, 3), {"c": 3}),
    (several, (1,), {"c": 3, "e": 5}),
    (Plain(), (1,), {}),
    (Plain(), (1, 2), {}),
    (Plain().method, (1,), {}),
    (Plain().method, (1, 2, 3), {"z": 5}),
    (any_arguments, (1, 2), {}),
    (any_arguments, (1, 2), {"key": 3, "more": 4}),
]


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize(("function", "args", "kwargs"), HEADS)
def test_head_accepts_what_the_function_accepts(function: Any, args: Any, kwargs: Any, bound: bool) -> None:
    theirs, ours = _modules("functional")
    outcomes = [
        _outcome(partial(package.head_from_fun(function, bound=bound), *args, **kwargs)) for package in (theirs, ours)
    ]
    assert outcomes[0] == outcomes[1]


def test_source_of_head_is_kept() -> None:
    sources = [package.head_from_fun(several)._source for package in _modules("functional")]
    assert sources[0] == sources[1]


class Counted:
    """An iterator that tells how far it was read."""

    def __init__(self, values: Any) -> None:
        self.values, self.read = iter(values), 0

    def __iter__(self) -> "Counted":
        return self

    def __next__(self) -> Any:
        value = next(self.values)
        self.read += 1
        if isinstance(value, Exception):
            raise value
        return value


def _regen_scenarios() -> dict[str, Callable[[Any, Counted], Any]]:
    return {
        "list": lambda made, source: list(made),
        "twice": lambda made, source: (list(made), list(made)),
        "index": lambda made, source: made[2],
        "index out of range": lambda made, source: made[100],
        "negative index": lambda made, source: made[-1],
        "slice": lambda made, source: made[1:3],
        "index of another type": lambda made, source: made["x"],
        "truth": lambda made, source: bool(made),
        "length": lambda made, source: len(made),
        "some": lambda made, source: list(itertools.islice(made, 2)),
        "some, then all": lambda made, source: (list(itertools.islice(made, 2)), list(made)),
        "map": lambda made, source: (made[0], made.map(str), list(made)),
        "repr": lambda made, source: (repr(made), list(itertools.islice(made, 2)), repr(made), list(made), repr(made)),
        "json": lambda made, source: json.dumps(made),
        "pickle": lambda made, source: pickle.loads(pickle.dumps(made)),
        "nested": lambda made, source: [(a, b) for a in made for b in made],
        "equality": lambda made, source: made == [0, 1, 2, 3, 4],
        "is a list": lambda made, source: isinstance(made, list),
    }


@pytest.mark.parametrize(
    "values", [range(5), [], [7], [1, ValueError("late"), 3]], ids=["five", "none", "one", "error"]
)
@pytest.mark.parametrize("scenario", _regen_scenarios().values(), ids=_regen_scenarios())
def test_regen_reads_as_far_as_celerys(scenario: Callable[[Any, Counted], Any], values: Any) -> None:
    outcomes = []
    for package in _modules("functional"):
        source = Counted(values)
        made = package.regen(source)
        outcome = _outcome(partial(scenario, made, source))
        outcomes.append((str(outcome).replace("_regen", ""), source.read))
    assert outcomes[0] == outcomes[1]


def test_regen_returns_lists_and_tuples_as_they_are(side: int) -> None:
    regen = _modules("functional")[side].regen
    for given in ([1], (1,)):
        assert regen(given) is given


def test_lazy_values_are_evaluated(side: int) -> None:
    functional = _modules("functional")[side]
    numbers = itertools.count()
    value, once = functional.lazy(next, numbers), functional.mlazy(next, numbers)
    assert (value(), value(), str(value), repr(value)) == (0, 1, "2", "3")
    assert (once(), once(), once.evaluated, once == 4) == (4, 4, True, True)
    assert functional.maybe_evaluate(value) == 5
    assert functional.maybe_evaluate(kombu_lazy(lambda: 6)) == 6
    assert functional.maybe_evaluate(7) == 7
    assert functional.firstmethod("upper")([1, kombu_lazy(lambda: "a"), "b"]) == "A"
    assert list(functional.evaluate_promises([promise(lambda: 8), 9])) == [8, 9]


def test_first_method_takes_arguments(side: int) -> None:
    functional = _modules("functional")[side]
    found = functional.firstmethod("get", on_call=lambda method, key: method(key, "default" if key == "b" else None))
    assert found([object(), {}, {"a": 1}], "a") == 1
    assert found([{}], "b") == "default"
    assert found([object()], "a") is None


def test_memoized_function_counts_its_calls(side: int) -> None:
    functional, calls = _modules("functional")[side], []

    def counted(x: int, y: int = 0) -> int:
        calls.append(x)
        return 2 * x

    double = functional.memoize(maxsize=2, keyfun=None)(counted)
    assert [double(1), double(1), double(x=1), double(2), double(1)] == [2, 2, 2, 4, 2]
    assert (double.hits, double.misses, calls) == (1, 4, [1, 1, 2, 1])
    double.clear()
    assert (double.hits, double.misses) == (0, 0)
    assert double.original_func(5) == 10


def test_cache_forgets_least_recently_used_key(side: int) -> None:
    cache = _modules("functional")[side].LRUCache(limit=3)
    cache.update(a=1, b=2, c=3)
    assert cache["a"] == 1
    cache["d"] = 4
    assert list(cache) == list(cache.keys()) == ["c", "a", "d"]
    cache["c"] = 30
    cache.update(e=5, f=6)
    assert (list(cache.items()), list(cache.values()), len(cache)) == ([("d", 4), ("e", 5), ("f", 6)], [4, 5, 6], 3)
    cache["n"] = "1"
    assert (cache.incr("n"), cache.incr("n", 5), cache["n"]) == (2, 7, "7")
    with pytest.raises(KeyError):
        cache["gone"]
    restored = pickle.loads(pickle.dumps(cache))
    assert list(restored.items()) == list(cache.items())
    assert restored.popitem() == ("n", "7")


def test_cached_property_can_be_set_and_deleted(side: int) -> None:
    made, gone = list[int](), list[int]()
    cached_property = (celery.utils, taskq_cloud.celery.utils)[side].cached_property

    def count(owner: Any) -> int:
        made.append(1)
        return len(made)

    class Owner:
        value: Any = (
            cached_property(count).setter(lambda owner, value: value * 10).deleter(lambda _, old: gone.append(old))
        )

    owner = Owner()
    assert (owner.value, owner.value, made) == (1, 1, [1])
    owner.value = 5
    assert owner.value == 50
    del owner.value
    del owner.value
    assert (owner.value, gone) == (2, [50])
    assert isinstance(Owner.value, cached_property)


def test_fallback_context_is_used_without_a_value(side: int) -> None:
    objects, closed = _modules("objects")[side], []

    class Context:
        def __enter__(self) -> str:
            return "made"

        def __exit__(self, *exc_info: object) -> bool:
            closed.append(exc_info[0])
            return True

    with objects.FallbackContext("given", Context) as value:
        assert value == "given"
    assert closed == []
    with objects.FallbackContext(None, Context) as value:
        assert value == "made"
        raise KeyError
    assert closed == [KeyError]


def test_keys_are_attributes(side: int) -> None:
    objects = _modules("objects")[side]

    class Owner(dict[str, Any]):
        deep: ClassVar[Any] = {"er": {}}
        plain = objects.getitem_property("plain")

    owner = Owner(plain=1)
    assert (owner.plain, Owner.plain, objects.Bunch(a=1).a) == (1, Owner, 1)
    owner.plain = 2
    assert owner == {"plain": 2}


def test_graphs_are_celerys() -> None:
    outcomes = []
    for graph in _modules("graph"):
        made = graph.DependencyGraph([("A", ["B"]), ("B", ["C", "D"]), ("C", []), ("D", ["C"]), ("E", ["A"])])
        other = graph.DependencyGraph([("F", [])])
        made.connect(other)
        out, formatted = io.StringIO(), io.StringIO()
        made.to_dot(out)
        made.to_dot(formatted, graph.GraphFormatter(root="r", type="graph", id="i", indent=1, shape="oval"))
        outcomes.append(
            (
                made.topsort(),
                repr(made),
                list(made.edges()),
                [made.valency_of(each) for each in "ABCDEFG"],
                out.getvalue(),
                formatted.getvalue(),
                len(made),
                "A" in made,
                list(made),
                list(made.items()),
            )
        )
    assert outcomes[0] == outcomes[1]


STYLES = [
    "black",
    "red",
    "green",
    "yellow",
    "blue",
    "magenta",
    "cyan",
    "white",
    "bold",
    "underline",
    "blink",
    "reverse",
    "bright",
    "ired",
    "igreen",
    "iyellow",
    "iblue",
    "imagenta",
    "icyan",
    "iwhite",
    "reset",
]


def test_coloured_text_is_celerys() -> None:
    outcomes = []
    for term in _modules("term"):
        c = term.colored(enabled=True)
        text = c.red("the ", c.blue("quick "), c.bold(c.underline("fox"), "!"), 5)
        plain = term.colored("a", c.green("b"), enabled=False)
        outcomes.append(
            [
                *(str(text), repr(text), text.embed(), text + "end", text.no_color(), str(plain), str(c.reset())),
                *(str(getattr(c, name)("x")) for name in STYLES),
                *sorted(c.names),
            ]
        )
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("pending", [False, True])
def test_deprecations_warn_like_celerys(pending: bool) -> None:
    outcomes = []
    for package, deprecated in zip((celery, taskq_cloud.celery), _modules("deprecated"), strict=True):
        options = {"deprecation": "1.0" if pending else None, "removal": "2.0", "alternative": "Use b"}

        def a(x: int) -> int:
            return x

        def value(owner: Any) -> int:
            return 1

        class Owner:
            property: Any = deprecated.Property(**options)(value).setter(lambda owner, value: None)

        a = deprecated.Callable(**options)(a)
        kind = package.exceptions.CPendingDeprecationWarning if pending else package.exceptions.CDeprecationWarning
        owner = Owner()
        with pytest.raises(AttributeError):
            del owner.property
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert (a(3), owner.property) == (3, 1)
            owner.property = 2
        assert {each.category for each in caught} == {kind}
        outcomes.append([(str(each.message), each.filename) for each in caught])
    assert outcomes[0] == outcomes[1]


def test_task_names_follow_module_and_application(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    imports = _modules("imports")[side]
    app = type("App", (), {"main": "xyz"})
    nameless = type("App", (), {"main": None})
    assert imports.gen_task_name(app, "add", "__main__") == "xyz.add"
    assert imports.gen_task_name(app, "add", None) == "xyz.add"
    assert imports.gen_task_name(nameless, "add", "__main__") == "__main__.add"
    assert imports.gen_task_name(app, "add", "proj.tasks") == "proj.tasks.add"
    assert imports.gen_task_name(app, "add", "json") == "json.add"
    monkeypatch.setattr(imports, "MP_MAIN_FILE", json.__file__)
    assert imports.gen_task_name(app, "add", "json") == "xyz.add"


def test_module_in_current_directory_comes_first(side: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    imports, name = _modules("imports")[side], f"made_by_test_{side}"
    (tmp_path / f"{name}.py").write_text("value = 1")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    module = imports.import_from_cwd(name)
    assert (module.value, sys.path) == (1, path)
    (tmp_path / f"{name}.py").write_text("value = 12345")
    assert imports.reload_from_cwd(module).value == 12345
    with pytest.raises(imports.NotAPackage, match=name):
        imports.find_module(f"{name}.deeper")
    with imports.cwd_in_path():
        assert sys.path[0] == str(tmp_path)
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with imports.cwd_in_path() as directory:
        assert directory is None


def test_queue_of_one_worker_has_its_name() -> None:
    queues = [package.worker_direct("w1@host") for package in _modules("nodenames")]
    for queue in queues:
        assert (queue.name, queue.exchange.name, queue.routing_key) == ("w1@host.dq2", "C.dq2", "w1@host")
        assert _modules("nodenames")[1].worker_direct(queue) is queue


def test_threads_have_their_own_values(side: int) -> None:
    threads = _modules("threads")[side]
    local, stack = threads.Local(), threads.LocalStack()
    local.x = 1
    stack.push("a")
    stack.push("b")
    seen: list[Any] = []

    def look() -> None:
        seen.extend([getattr(local, "x", None), stack.top, len(stack), stack.pop()])

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [None, None, 0, None]
    assert (local.x, stack.top, stack.stack, len(stack)) == (1, "b", ["a", "b"], 2)
    assert (stack.pop(), stack.pop(), stack.pop()) == ("b", "a", None)
    manager = threads.LocalManager(local)
    assert repr(manager) == "<LocalManager storages: 1>"
    manager.cleanup()
    with pytest.raises(AttributeError):
        _ = local.x


def test_background_thread_stops_when_told(side: int) -> None:
    threads = _modules("threads")[side]
    stepped = threading.Event()

    class Service(threads.bgThread):  # type: ignore[name-defined, misc]
        def body(self) -> None:
            stepped.set()

    service = Service()
    service.start()
    assert stepped.wait(10)
    service.stop()
    assert not service.is_alive()
    assert (service.name, service.daemon) == ("Service", True)


def test_socket_timeout_is_restored(side: int) -> None:
    before = socket.getdefaulttimeout()
    with _modules("threads")[side].default_socket_timeout(7):
        assert socket.getdefaulttimeout() == 7
    assert socket.getdefaulttimeout() == before


def test_timer_makes_calls_until_it_is_stopped(side: int) -> None:
    timer2 = _modules("timer2")[side]
    done, errors, seen = threading.Event(), list[Any](), list[Any]()
    timer = timer2.Timer(on_error=errors.append, on_tick=seen.append)
    cancelled = timer.call_after(0.01, seen.append, ("never",))
    cancelled.cancel()
    timer.call_after(0.02, [].remove, (1,))
    timer.call_repeatedly(0.01, lambda: done.set() if seen and errors else None)
    assert done.wait(10)
    timer.stop()
    assert isinstance(errors[0], ValueError)
    assert "never" not in seen
    assert not timer.empty()
    timer.clear()
    assert timer.empty()
    assert timer
