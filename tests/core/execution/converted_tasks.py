"""The types of tasks that convert their arguments, and their functions. Annotations are texts, as in most modules."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, ValidationInfo, field_validator
from pydantic.functional_validators import AfterValidator

if TYPE_CHECKING:
    from decimal import Decimal as Unknown


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(BaseModel):
    width: int = Field(alias="w")
    height: int = Field(gt=0)


@dataclass
class Photo:
    key: str
    tags: set[str]
    taken: date | None = None


class User(BaseModel):
    name: str
    born: date = date(2000, 1, 1)
    known_by: str = ""

    @field_validator("known_by")
    @classmethod
    def _from_context(cls, value: str, info: ValidationInfo) -> str:
        return value or str((info.context or {}).get("who", ""))


class Admin(User):
    level: int = 1


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("must be even")
    return value


def resize(
    size: Size,
    photo: Photo,
    colour: Colour = Colour.RED,
    *more: Annotated[int, AfterValidator(_even)],
    wait: timedelta = timedelta(0),
    folder: Path = Path(),
    **taken: date,
) -> dict[str, Any]:
    """Show the types of the arguments."""
    shown = {"size": repr(size), "photo": repr(photo), "colour": colour.name, "more": list(more)}
    return {**shown, "wait": repr(wait), "folder": folder.as_posix(), "taken": sorted(map(repr, taken.values()))}


def tag(photo: Photo, tags: frozenset[str]) -> Photo:
    """Return a dataclass."""
    return Photo(photo.key, photo.tags | tags, photo.taken)


async def acount(photos: list[Photo]) -> int:
    """Count, as a coroutine."""
    assert all(isinstance(each, Photo) for each in photos)
    return len(photos)


def wrong() -> int:
    """Return a value of another type than that of the annotation."""
    return "five"  # type: ignore[return-value]


def unusable(value: Unknown) -> None:
    """Have an annotation that can't be resolved."""


def greet(user: User, other: User | None = None, plain: str = "") -> User:
    """Take models and return one."""
    assert isinstance(user, User)
    return User(name=f"{user.name}/{other.name if other else '-'}/{plain}", born=user.born, known_by=user.known_by)


def unlike(user: User) -> str:
    """Return a model although the annotation is another type."""
    return user  # type: ignore[return-value]


def maybe(user: User | None) -> User | None:
    """Return a model or nothing."""
    return user
