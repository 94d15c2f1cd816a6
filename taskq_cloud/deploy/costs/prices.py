"""Reads the price list: ``prices.toml`` next to this file, or another file of that form."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from taskq_cloud.errors import ImproperlyConfigured

OWN_LIST: Final = Path(__file__).with_name("prices.toml")


class Price(BaseModel):
    """The price of ``per`` units in US dollars, and how many units a month are free."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    usd: Annotated[float, Field(ge=0)]
    per: Annotated[float, Field(gt=0)]
    free: Annotated[float, Field(ge=0)] = 0
    page: str
    """The title of the provider's page that states the price."""


class PriceList(BaseModel):
    """The prices of one Region, with the month in which they were valid."""

    model_config = ConfigDict(frozen=True)

    source: str
    date: str
    region: str
    prices: Mapping[str, Price]

    def price(self, name: str) -> Price:
        """Return a price by its name.

        Raises:
            ImproperlyConfigured: the list has no price of that name; the error says how to add it.
        """
        found = self.prices.get(name)
        if found is None:
            raise ImproperlyConfigured(
                f"{self.source} has no price {name!r} in [{self.region}]: add "
                f"{name} = {{ usd = ..., per = ..., page = ... }}"
            )
        return found


_PRICES: Final = TypeAdapter(dict[str, Price])
_SAME_AS: Final = "same_as"


def read_prices(path: Path, region: str) -> PriceList:
    """Read the prices of a Region.

    Args:
        path: a TOML file with a ``date`` and a table of prices for each Region. The table's ``same_as`` names the
            Region whose prices apply where the table has none: a Region of the file, or else of the package's own list.
        region: the Region.

    Raises:
        ImproperlyConfigured: the file can't be read, lacks its date or the Region, or holds an entry that is not a
            price; the error names the entry.
    """
    date, regions = _read(path)
    if region not in regions:
        known = ", ".join(sorted(regions)) or "none"
        raise ImproperlyConfigured(
            f"{path} has no prices for {region!r}; its Regions are: {known}. Use another --region, or a list of your "
            'own with --prices: it needs a date, same_as = "us-east-1" or the like, and the prices that differ'
        )
    prices: dict[str, Price] = {}
    seen: list[str] = []
    next_region: str | None = region
    while next_region is not None:
        if next_region in seen:
            raise ImproperlyConfigured(f"{path}: same_as goes round in a circle: {' -> '.join([*seen, next_region])}")
        seen.append(next_region)
        found, next_region = _region(path, regions, next_region)
        prices = found | prices
    return PriceList(source=path.name, date=date, region=region, prices=prices)


def regions_of(path: Path) -> frozenset[str]:
    """Return the Regions that a list has prices for; see ``read_prices``."""
    return frozenset(_read(path)[1])


def _read(path: Path) -> tuple[str, dict[str, object]]:
    try:
        lists = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        raise ImproperlyConfigured(f"the price list {path} can't be read: {error}") from error
    date = lists.pop("date", None)
    if not isinstance(date, str):
        raise ImproperlyConfigured(f'{path} does not say when its prices were valid: add date = "2026-11"')
    return date, lists


def _region(path: Path, regions: Mapping[str, object], region: str) -> tuple[dict[str, Price], str | None]:
    """Return the prices in a Region's own table, and the Region whose prices apply besides them."""
    if region not in regions:
        own = {} if path == OWN_LIST else _read(OWN_LIST)[1]
        if region not in own:
            known = ", ".join(sorted({*regions, *own}))
            raise ImproperlyConfigured(f"{path}: same_as names {region!r}, which has no prices; Regions are: {known}")
        return _region(OWN_LIST, own, region)
    table = regions[region]
    others = dict(table) if isinstance(table, dict) else table
    same_as = others.pop(_SAME_AS, None) if isinstance(others, dict) else None
    if same_as is not None and not isinstance(same_as, str):
        raise ImproperlyConfigured(f'{path}, [{region}]: same_as is {same_as!r}, and must name a Region: "us-east-1"')
    try:
        return _PRICES.validate_python(others), same_as
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ImproperlyConfigured(f"{path}, [{region}]: {problems}") from error
