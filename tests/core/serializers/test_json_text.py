"""Test that JSON text has one value, whichever package parses it."""

from __future__ import annotations

import builtins
import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq_cloud.core.serializers import json_text

EDGES = [
    "NaN", "-Infinity", "1e400", "-1e400", "1e-400", "-0", "-0.0", "1.7976931348623159e308", "9" * 40, "1" * 5000,
    "18446744073709551616", "1E5", "01", "1.", ".5", "+1", "-", "1e", '{"a":1,"a":2}', '{"a":1,}', "{1:2}", '{"a"}',
    '"\\ud800"', '"\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\x00"', '"a\tb"', '"\u2028"', '"\\x"', "'a'", '"abc',
    " [1]\n", "\ufeff[1]", "\x0b1", "[1]x", "[1,]", "[", "", "nul", "[" * 900 + "]" * 900, "[" * 100_000,
]  # fmt: skip
"""Texts on which parsers of JSON are known to differ."""


@pytest.fixture(autouse=True)
def by_msgspec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text._Chosen, "decode", json_text._Chosen.decode)
    assert json_text.prefer_msgspec()


def parsed(parse: Any, text: str) -> str:
    """Return the value, with its types, or the kind of the error."""
    try:
        return repr(parse(text))
    except ValueError:
        return "not JSON"
    except RecursionError:
        return "too deep"


@pytest.mark.parametrize("text", EDGES, ids=lambda text: ascii(text[:20]))
def test_text_on_which_parsers_differ_has_the_standard_librarys_value(text: str) -> None:
    assert parsed(json_text.parse, text) == parsed(json.loads, text)


NUMBERS = st.builds(
    "{}{}.{}e{}".format,
    st.sampled_from(["", "-"]),
    st.integers(0, 10**20),
    st.integers(0, 10**20),
    st.integers(-330, 330),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    NUMBERS | st.builds(json.dumps, VALUES, ensure_ascii=st.booleans()) | st.text('{}[]":,0123456789.eE+-\\unltrfas ')
)
def test_text_has_the_standard_librarys_value(text: str) -> None:
    assert parsed(json_text.parse, text) == parsed(json.loads, text)


def test_parser_stays_the_standard_librarys_without_msgspec(monkeypatch: pytest.MonkeyPatch) -> None:
    before, importing = json_text._Chosen.decode, builtins.__import__

    def without_msgspec(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "msgspec":
            raise ImportError(name)
        return importing(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "msgspec", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_msgspec)
    assert not json_text.prefer_msgspec()
    assert json_text._Chosen.decode is before
