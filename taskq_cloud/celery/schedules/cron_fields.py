"""``crontab_parser``: the numbers that one field of a crontab stands for, by Celery's grammar."""

from __future__ import annotations

import re
from typing import Final

from taskq_cloud.celery.utils.time import weekday, yearmonth


class ParseException(Exception):
    """A field of a crontab can't be read."""


_RANGE: Final = re.compile(r"(?P<first>\w+?)-(?P<last>\w+)(?P<slash>/(?P<step>\w+)?)?")
_STAR_STEP: Final = re.compile(r"\*/(?P<step>\w+)?")
_STAR: Final = re.compile(r"\*$")


class crontab_parser:
    """Reads fields of a crontab: ``*``, ``a-b``, ``*/step``, ``a-b/step``, names, and lists of these with commas.

    Args:
        max_: how many numbers the field has.
        min_: the smallest number.
    """

    ParseException = ParseException

    def __init__(self, max_: int = 60, min_: int = 0) -> None:
        self.max_ = max_
        self.min_ = min_

    def parse(self, spec: str) -> set[int]:
        """Read a field.

        Raises:
            ParseException: a part or a step is missing, or a number is negative.
            ValueError: a number is out of range, or a name is unknown.
        """
        return {number for part in spec.split(",") for number in self._part(part)}

    def _part(self, part: str) -> list[int]:
        if not part:
            raise self.ParseException("empty part")
        # As in Celery, characters after a complete range or step are not read.
        if found := _RANGE.match(part):
            if found["slash"]:
                self._check_step(found["step"])
            numbers = self._range(found["first"], found["last"])
            return numbers[:: int(found["step"])] if found["slash"] else numbers
        if found := _STAR_STEP.match(part):
            self._check_step(found["step"])
            return self._all()[:: int(found["step"])]
        return self._all() if _STAR.match(part) else [self._number(part)]

    def _check_step(self, step: str | None) -> None:
        if not step:
            raise self.ParseException("empty filter")

    def _all(self) -> list[int]:
        return list(range(self.min_, self.min_ + self.max_))

    def _range(self, first: str, last: str) -> list[int]:
        """The numbers from one to another; a range whose end is less than its start wraps around."""
        begin, end = self._number(first), self._number(last)
        if begin <= end:
            return list(range(begin, end + 1))
        return [*range(begin, self.min_ + self.max_), *range(self.min_, end + 1)]

    def _number(self, text: str) -> int:
        if text.startswith("-"):
            raise self.ParseException("negative numbers not supported")
        number, greatest = _number_of(text), self.min_ + self.max_ - 1
        if number > greatest:
            raise ValueError(f"Invalid end range: {number} > {greatest}.")
        if number < self.min_:
            raise ValueError(f"Invalid beginning range: {number} < {self.min_}.")
        return number


def _number_of(text: str) -> int:
    """The number that a part of a field means: the number itself, or a month's or a weekday's."""
    for read in (int, yearmonth, weekday):
        try:
            return read(text)
        except (ValueError, KeyError):
            continue
    raise ValueError(f"Invalid weekday literal {text!r}.")
