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


_REGION: Final = TypeAdapter(dict[str, Price])


def read_prices(path: Path, region: str) -> PriceList:
    """Read the prices of a Region.

    Args:
        path: a TOML file with a ``date`` and a table of prices for each Region.
        region: the Region.

    Raises:
        ImproperlyConfigured: the file can't be read, lacks its date or the Region, or holds an entry that is not a
            price; the error names the entry.
    """
    try:
        lists = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ImproperlyConfigured(f"the price list {path} can't be read: {error}") from error
    date = lists.pop("date", None)
    if not isinstance(date, str):
        raise ImproperlyConfigured(f'{path} does not say when its prices were valid: add date = "2026-11"')
    if region not in lists:
        known = ", ".join(sorted(lists)) or "none"
        raise ImproperlyConfigured(
            f"{path} has no prices for {region!r}; its Regions are: {known}. Use another --region, or another list with"
            " --prices"
        )
    try:
        prices = _REGION.validate_python(lists[region])
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ImproperlyConfigured(f"{path}, [{region}]: {problems}") from error
    return PriceList(source=path.name, date=date, region=region, prices=prices)
