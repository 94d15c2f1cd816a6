"""docs/glossary.md explains the project's own words, in the order of the alphabet."""

from __future__ import annotations

from tests.docs.test_tables import rows

OWN_WORDS = "burst capability fence flow hop join lease parked settle step tick ticker topology trigger"
TABLE = {row[0]: row[1] for row in rows("glossary.md")}


def test_own_words_are_explained() -> None:
    assert set(OWN_WORDS.split()) <= TABLE.keys()


def test_words_are_in_order_and_explained_in_sentences() -> None:
    assert list(TABLE) == sorted(TABLE)
    assert [word for word, meaning in TABLE.items() if not meaning.endswith(".")] == []
