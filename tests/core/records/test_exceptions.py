"""Exceptions on their way through a record: class, arguments, text and notes stay, and no constructor is called."""

from __future__ import annotations

import builtins
import copy
import json
import pickle
import sys
import traceback
import urllib.error
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.message import Message as Headers
from types import ModuleType
from typing import Any, Self

import httpx
import pydantic
import pytest
import requests
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils import json as kombu_json

from taskq_cloud import errors
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.records import document as documents
from taskq_cloud.core.records.record import FAILURE

json_of_kombu: Any = kombu_json  # its functions have no types


def stored(error: BaseException) -> str:
    return documents.encode(Message(task="t", id="1"), FAILURE, ErrorInfo.of(error), now=0)


def again(error: BaseException) -> Exception:
    return documents.exception_in(documents.decode(stored(error)))


def raised(function: Callable[[], object]) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


class Order(pydantic.BaseModel):
    price: int


class NotFound(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"{name} not found")
        self.name = name


class KeywordOnly(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class Raising(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text[0:1], text[1])


class OwnText(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"<{self.name}>"


class OwnTextOrNone(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return getattr(self, "name", "?")


class OwnRepr(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __repr__(self) -> str:
        return f"OwnRepr of {self.name}"


class BrokenLookup(Exception):
    def __init__(self, target: object) -> None:
        super().__init__("lost its target")
        self.__dict__["target"] = target

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["target"], name)


class NoNewAttributes(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError("no new attributes")


class Several(Exception):
    """An exception that counts as false, as it has a length."""

    def __len__(self) -> int:
        return 0


class NoTruth(Exception):
    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")


class TwoBuiltins(ValueError, OSError):
    pass


@dataclass
class Declared(Exception):
    code: int


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


class MadeByNew(Exception):
    def __new__(cls, *_: object) -> Self:
        raise AssertionError("the class was called")

    @classmethod
    def make(cls, text: str) -> MadeByNew:
        return Exception.__new__(cls, text)


def bad_page() -> httpx.Response:
    return httpx.Response(404, request=httpx.Request("GET", "http://shop.example/1"))


def missing_page() -> Exception:
    response = requests.Response()
    response.status_code, response.url = 404, "http://shop.example/1"
    return raised(response.raise_for_status)


EXCEPTIONS: list[Exception] = [
    ValueError("x", 1),
    KeyError("k"),
    ClientError({"Error": {"Code": "Throttling", "Message": "slow down"}}, "SendMessage"),
    raised(lambda: json.loads("{")),
    raised(b"caf\xe9".decode),
    raised(lambda: "caf\xe9".encode("ascii")),
    raised(lambda: bad_page().raise_for_status()),
    missing_page(),
    OSError(5, "Input/output error"),
    SyntaxError("bad", ("f.py", 1, 2, "x =", 1, 3)),
    StopIteration(3),
    NotFound("order 5"),
    KeywordOnly(code=5),
    Raising("ab"),
    MadeByNew.make("made"),
    TwoBuiltins("x"),
    Several("x"),
    NoTruth("x"),
    NoNewAttributes("x"),
    ExceptionGroup("two", [ValueError("a"), KeyError("b")]),
    ExceptionGroup("outer", [ExceptionGroup("inner", [NotFound("x")])]),
    errors.MissingExtra("sqs", "aws"),
    errors.QueueNotFound("no queue 'x'"),
    errors.DecodeError("not a message", "id"),
]
"""Exceptions that come back with their very class."""


@pytest.mark.parametrize("error", EXCEPTIONS, ids=lambda error: type(error).__name__)
def test_exception_comes_back_with_its_class_text_and_notes(error: Exception) -> None:
    error.__dict__["__notes__"] = ["order 5", "second line"]
    made = again(error)
    assert type(made) is type(error)
    assert str(made) == str(error)
    assert made.__notes__ == ["order 5", "second line"]
    if not isinstance(error, ExceptionGroup | SyntaxError):  # whose arguments hold a list or a tuple
        assert made.args == error.args


ALTERED: list[Exception] = [
    OwnText("name"),
    OwnTextOrNone("name"),
    OwnRepr("name"),
    Declared(5),
    Frozen(5),
    BrokenLookup("target"),
    raised(lambda: open("/no/such/file")),  # noqa: SIM115, PTH123 - the file name isn't among the arguments
    urllib.error.HTTPError("http://shop.example/1", 404, "gone", Headers(), None),
]
"""Exceptions whose class needs more than the arguments to show them; they come back as instances of the class."""


@pytest.mark.parametrize("error", ALTERED, ids=lambda error: type(error).__name__)
def test_exception_whose_class_can_not_show_it_is_caught_and_shown(error: Exception) -> None:
    made = again(error)
    assert isinstance(made, type(error))
    assert not isinstance(made, errors.RemoteError)
    assert str(made) == str(error)
    assert made.args == error.args
    assert type(error).__name__ in repr(made)
    assert str(error).splitlines()[0] in "".join(traceback.format_exception(made))
    assert not hasattr(made, "no_such_attribute")


def test_error_number_of_an_os_error_comes_back() -> None:
    made = again(raised(lambda: open("/no/such/file")))  # noqa: SIM115, PTH123
    assert isinstance(made, FileNotFoundError)
    assert made.errno == 2


def test_members_of_a_group_can_be_picked() -> None:
    made = again(ExceptionGroup("outer", [ExceptionGroup("inner", [NotFound("x")]), KeyError(1)]))
    assert isinstance(made, ExceptionGroup)
    found, rest = made.split(NotFound)
    assert found is not None
    assert rest is not None
    assert str(rest.exceptions[0]) == "1"


def test_exception_that_can_not_be_made_stands_for_the_nearest_class() -> None:
    error = raised(lambda: Order(price="x"))  # type: ignore[arg-type]
    made = again(error)
    assert isinstance(made, errors.RemoteError)
    assert isinstance(made, ValueError)
    assert (made.exc_type, made.exc_module) == ("ValidationError", type(error).__module__)
    assert str(made) == str(error)
    assert "price" in str(made)


def test_class_of_a_module_not_imported_stands_for_the_nearest_class() -> None:
    there = ModuleType("no_such_shop")
    # The classes of a module that only the worker has.
    exec("class ShopError(LookupError): pass\nclass Lost(ShopError): pass\n", there.__dict__)
    made = again(there.Lost("order 5"))
    assert isinstance(made, errors.RemoteError)
    assert isinstance(made, LookupError)
    assert (made.exc_type, made.exc_module, str(made)) == ("Lost", "no_such_shop", "order 5")
    sys.modules["no_such_shop"] = there
    try:
        assert type(again(made)) is there.Lost  # a task has passed it on to a process that has the module
        del there.Lost
        assert isinstance(again(made), there.ShopError)
    finally:
        del sys.modules["no_such_shop"]


@pytest.mark.parametrize(
    "argument",
    [uuid.UUID(int=5), Decimal("1.5"), datetime(2026, 1, 1, tzinfo=UTC), b"\xff", b"text", [uuid.UUID(int=5)]],
    ids=repr,
)
def test_argument_of_a_rich_type_is_stored_as_celery_stores_it(argument: Any) -> None:
    made = again(KeyError(argument))
    assert made.args == (argument,)
    assert str(made) == str(KeyError(argument))
    result = json.dumps(json.loads(stored(KeyError(argument)))["result"], separators=(",", ":"))
    celerys = {"exc_type": "KeyError", "exc_message": [argument], "exc_module": "builtins"}
    assert result == json_of_kombu.dumps(celerys, separators=(",", ":"))
    assert json_of_kombu.loads(result) == celerys


def test_plain_exception_adds_nothing_to_celerys_document() -> None:
    assert set(json.loads(stored(ValueError("x")))) == {
        "status", "result", "traceback", "children", "date_done", "task_id"
    }  # fmt: skip


def test_timeout_error_of_a_task_is_not_taken_for_that_of_the_caller() -> None:
    made = again(errors.TimeoutError("task 5 is PENDING after 1 s"))
    assert isinstance(made, builtins.TimeoutError)
    assert not isinstance(made, errors.TimeoutError)
    assert type(again(TimeoutError("no answer"))) is builtins.TimeoutError


def test_rejection_of_a_task_does_not_reject_its_reader() -> None:
    made = again(errors.Reject("not mine"))
    assert isinstance(made, errors.TaskPredicate)
    assert not isinstance(made, errors.Reject)
    assert str(made) == "not mine"


@pytest.mark.parametrize("error", [*ALTERED, raised(lambda: Order(price="x"))], ids=lambda e: type(e).__name__)  # type: ignore[arg-type]
def test_exception_that_was_made_anew_can_be_copied(error: Exception) -> None:
    made = again(error)
    for copied in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made), again(made)):
        assert (type(copied), str(copied)) == (type(made), str(made))


def test_module_that_computes_its_attributes_is_not_asked() -> None:
    module = ModuleType("computing_shop")
    module.__dict__["__getattr__"] = lambda name: pytest.fail(f"asked for {name}")
    sys.modules["computing_shop"] = module
    try:
        made = documents.exception_of({"exc_type": "Lost", "exc_message": ["x"], "exc_module": "computing_shop"})
    finally:
        del sys.modules["computing_shop"]
    assert str(made) == "Lost: x"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["ValueError", "builtins", "errors\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_KEYS = ("exc_type", "exc_message", "exc_module", "text", "notes", "bases", "members")


@given(st.dictionaries(st.sampled_from(_KEYS), _JSON), st.none() | st.dictionaries(st.sampled_from(_KEYS), _JSON))
def test_any_description_makes_an_exception_that_can_be_shown(result: dict[str, Any], details: Any) -> None:
    made = documents.exception_of(result, details)
    assert isinstance(made, Exception)
    str(made)
    repr(made)
    "".join(traceback.format_exception(made))


def test_large_error_is_cut_with_its_text_and_notes() -> None:
    error = OwnText("x" * 100_000)
    error.add_note("n" * 100_000)
    short = ErrorInfo.of(error).shortened()
    assert len(documents.encode(Message(task="t", id="1"), FAILURE, short, now=0)) < 25_000
