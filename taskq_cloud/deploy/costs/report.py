"""Writes a cost estimate: as a table for people, or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from taskq_cloud.deploy.costs.model import CostItem
from taskq_cloud.deploy.costs.prices import PriceList
from taskq_cloud.deploy.costs.servers import ServerWork, as_sentences

DAYS: Final = 30
"""The days of a month."""
CENT: Final = 0.01


@dataclass(frozen=True, slots=True)
class PricedItem:
    """A billed item with its price.

    Args:
        item: the calls and units of a day.
        month_usd: their cost in 30 days, in US dollars.
    """

    item: CostItem
    month_usd: float


def price(items: Sequence[CostItem], prices: PriceList, *, free_tier: bool) -> list[PricedItem]:
    """Price the items of a day for a month.

    Args:
        items: the items.
        prices: the price list.
        free_tier: subtract the units that are free each month; items of one price share them, in order.

    Raises:
        ImproperlyConfigured: the list lacks a price.
    """
    left = {name: each.free if free_tier else 0.0 for name, each in prices.prices.items()}
    priced = []
    for item in items:
        unit_price = prices.price(item.price)
        units = item.units * DAYS
        free = min(units, left[item.price])
        left[item.price] -= free
        priced.append(PricedItem(item, (units - free) / unit_price.per * unit_price.usd))
    return priced


def as_json(costs: Sequence[PricedItem], prices: PriceList, tasks: float, servers: Sequence[ServerWork] = ()) -> str:
    """Write a JSON object: the price list's name and date, one object for each item, and the sums.

    Args:
        costs: the priced items.
        prices: the price list.
        tasks: tasks a day.
        servers: the work of servers, which have no price here.
    """
    rows = [
        {
            "what": cost.item.name,
            "calls_per_day": round(cost.item.calls, 6),
            "units_per_day": round(cost.item.units, 6),
            "price": cost.item.price,
            "page": prices.price(cost.item.price).page,
            "usd_per_month": round(cost.month_usd, 6),
        }
        for cost in costs
    ]
    total = sum(cost.month_usd for cost in costs)
    head = {"prices": prices.source, "date": prices.date, "region": prices.region, "tasks_per_day": tasks}
    sums = {"usd_per_month": round(total, 6), "usd_per_million_tasks": _per_million(total, tasks)}
    hourly = {"servers": [_rounded(each) for each in servers]} if servers else {}
    return json.dumps({**head, "lines": rows, **sums, **hourly}, indent=2)


def as_text(costs: Sequence[PricedItem], prices: PriceList, tasks: float, servers: Sequence[ServerWork] = ()) -> str:
    """Write a table of the items, the most expensive first; the arguments are those of ``as_json``."""
    rows = [("", "a day", "a task", "$ for", "$ a month")]
    for cost in sorted(costs, key=lambda cost: -cost.month_usd):
        item, unit_price = cost.item, prices.price(cost.item.price)
        per_task = f"{item.units / tasks:,.3f}" if tasks else ""
        price_of_units = f"{unit_price.usd:g} / {unit_price.per:,.0f}"
        rows.append((item.name, f"{item.units:,.0f}", per_task, price_of_units, _usd(cost.month_usd)))
    total = sum(cost.month_usd for cost in costs)
    rows.append(("total", "", "", "", _usd(total)))
    tail = [f"List prices of {prices.region}, {prices.date} ({prices.source}); a month has {DAYS} days."]
    per_million = _per_million(total, tasks)
    if per_million is not None:
        tail.insert(0, f"{_usd(per_million)} $ per million tasks.")
    tail += as_sentences(servers, tasks)
    return "\n".join([*_aligned(rows), "", *tail])


def _rounded(work: ServerWork) -> dict[str, Any]:
    return {
        "what": work.use,
        "server": work.server,
        "requests_per_day": round(work.requests, 6),
        "bytes_per_day": round(work.request_bytes),
        "kept_bytes": None if work.held_bytes is None else round(work.held_bytes),
    }


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: its first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        first, *others = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        lines.append("  ".join(cells).rstrip())
    return lines


def _per_million(total: float, tasks: float) -> float | None:
    return round(total / (tasks * DAYS) * 1_000_000, 6) if tasks else None


def _usd(value: float) -> str:
    return "< 0.01" if 0 < value < CENT else f"{value:,.2f}"
