"""The five fields of a crontab, and the numbers that a text, a number or a collection of numbers stands for in each.

The syntax is that of Celery 5.7's ``crontab``; spaces around the parts of a list are allowed. Characters that Celery
ignores in silence, such as the ``-7`` of ``1-5-7``, are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.errors import ParseException, ScheduleError

CronSpec: TypeAlias = int | str | Iterable[int]
"""The types that specify a field: ``5``, ``"mon-fri"``, ``[0, 30]``."""

LONGEST_TEXT: Final = 500
"""The most characters of a field: a list of all 60 minutes has 169. Fields come in messages too, and no message may
keep its reader busy."""

_PART: Final = re.compile(r"(?:(?P<all>\*)|(?P<first>[^/*-]+)(?:-(?P<last>[^/*-]+))?)(?P<slash>/(?P<step>\w*))?")
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMES: Final = {name: i for i, name in enumerate(_WEEKDAYS)} | {name: i for i, name in enumerate(_MONTHS, 1)}
"""Celery knows names of days and months by their first three letters, in every field."""


@dataclass(frozen=True, slots=True)
class Field:
    """One of the five fields of a crontab: its name, for errors, and its smallest and largest number."""

    name: str
    least: int
    most: int

    @property
    def all(self) -> frozenset[int]:
        """All numbers of the field."""
        return frozenset(range(self.least, self.most + 1))

    def expand(self, spec: CronSpec) -> frozenset[int]:
        """Compute the numbers that a specification stands for.

        Raises:
            ParseException: the text can't be read.
            ScheduleError: a number is out of range, a name is unknown, a step is 0, there is no number at all, or the
                text has more than ``LONGEST_TEXT`` characters.
            TypeError: the specification isn't an int, a str or an iterable of ints.
        """
        if isinstance(spec, str):
            if len(spec) > LONGEST_TEXT:
                raise ScheduleError(
                    f"crontab: {self.name} has {len(spec)} characters; at most {LONGEST_TEXT} are read: {spec!r:.80}"
                )
            numbers = frozenset(number for part in spec.split(",") for number in self._part(part, spec))
        elif isinstance(spec, int):
            numbers = frozenset({spec})
        elif isinstance(spec, Iterable):
            numbers = frozenset(spec)
        else:
            raise TypeError(f"crontab: {self.name}={spec!r:.100}: give an int, a str or an iterable of ints")
        for number in numbers:
            if not isinstance(number, int):
                raise TypeError(f"crontab: {self.name} contains {number!r}, which isn't a whole number")
            self._check(number, spec)
        if not numbers:
            raise ScheduleError(f"crontab: {self.name} is empty, so it would never be due; '*' means every {self.name}")
        return numbers

    def _part(self, part: str, spec: str) -> list[int]:
        where = f"crontab: {self.name}={spec!r}"
        text = part.strip()
        if not text:
            raise ParseException(f"{where}: a part between commas is empty")
        if text.startswith("-"):
            raise ParseException(f"{where}: negative numbers are not supported")
        found = _PART.fullmatch(text)
        if found is None:
            raise ParseException(f"{where}: {text!r} can't be read; write n, a-b, *, a-b/step or */step")
        if found["all"]:
            numbers = list(range(self.least, self.most + 1))
        else:
            numbers = self._range(found["first"], found["last"], spec)
        if found["slash"] is None:
            return numbers
        if found["last"] is None and not found["all"]:
            raise ScheduleError(f"{where}: a step needs a range: '{found['first']}-{self.most}/{found['step']}'")
        if not found["step"]:
            raise ParseException(f"{where}: the step after the slash is missing")
        if not found["step"].isdecimal() or int(found["step"]) == 0:
            raise ScheduleError(f"{where}: the step {found['step']!r} isn't a number above 0")
        return numbers[:: int(found["step"])]

    def _range(self, first: str, last: str | None, spec: str) -> list[int]:
        begin = self._number(first, spec)
        if last is None:
            return [begin]
        end = self._number(last, spec)
        if begin <= end:
            return list(range(begin, end + 1))
        return [*range(begin, self.most + 1), *range(self.least, end + 1)]  # fri-mon, 50-10

    def _number(self, text: str, spec: str) -> int:
        text = text.strip()
        number = int(text) if text.isdecimal() else _NAMES.get(text[:3].lower())
        if number is None:
            raise ScheduleError(f"crontab: {self.name}={spec!r}: {text!r} isn't a number, a weekday or a month")
        self._check(number, spec)
        return number

    def _check(self, number: int, spec: CronSpec) -> None:
        if not self.least <= number <= self.most:
            raise ScheduleError(
                f"crontab: {self.name}={spec!r}: {number} is out of range; use {self.least} to {self.most}"
            )


MINUTE: Final = Field("minute", 0, 59)
HOUR: Final = Field("hour", 0, 23)
DAY_OF_WEEK: Final = Field("day_of_week", 0, 6)
DAY_OF_MONTH: Final = Field("day_of_month", 1, 31)
MONTH_OF_YEAR: Final = Field("month_of_year", 1, 12)


def text_of(spec: CronSpec) -> str:
    """Write a specification as in a crontab file."""
    if isinstance(spec, str | int):
        return str(spec)
    return ",".join(map(str, sorted(spec)))
