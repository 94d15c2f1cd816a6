"""A cost as a table for people, or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from taskq_cloud.deploy.costs.model import Line
from taskq_cloud.deploy.costs.prices import PriceList

DAYS: Final = 30
"""Of a month."""
CENT: Final = 0.01


@dataclass(frozen=True, slots=True)
class Cost:
    """A line with its price.

    Args:
        line: what is paid for, a day.
        month_usd: what it costs in 30 days.
    """

    line: Line
    month_usd: float


def price(lines: Sequence[Line], prices: PriceList, *, free_tier: bool) -> list[Cost]:
    """Price each line; what is free a month goes to the first lines of its price.

    Raises:
        ImproperlyConfigured: the list lacks a price.
    """
    left = {name: each.free if free_tier else 0.0 for name, each in prices.prices.items()}
    costs = []
    for line in lines:
        of = prices.price(line.price)
        units = line.units * DAYS
        free = min(units, left[line.price])
        left[line.price] -= free
        costs.append(Cost(line, (units - free) / of.per * of.usd))
    return costs


def as_json(costs: Sequence[Cost], prices: PriceList, tasks: float) -> str:
    """A JSON object: the list's name and date, a row a line, and the sum."""
    rows = [
        {
            "what": cost.line.what,
            "calls_per_day": round(cost.line.calls, 6),
            "units_per_day": round(cost.line.units, 6),
            "price": cost.line.price,
            "page": prices.price(cost.line.price).page,
            "usd_per_month": round(cost.month_usd, 6),
        }
        for cost in costs
    ]
    total = sum(cost.month_usd for cost in costs)
    head = {"prices": prices.source, "date": prices.date, "region": prices.region, "tasks_per_day": tasks}
    sums = {"usd_per_month": round(total, 6), "usd_per_million_tasks": _per_million(total, tasks)}
    return json.dumps({**head, "lines": rows, **sums}, indent=2)


def as_text(costs: Sequence[Cost], prices: PriceList, tasks: float) -> str:
    """A table, dearest first."""
    rows = [("", "a day", "a task", "$ for", "$ a month")]
    for cost in sorted(costs, key=lambda cost: -cost.month_usd):
        of = prices.price(cost.line.price)
        per_task = f"{cost.line.units / tasks:,.3f}" if tasks else ""
        rows.append(
            (cost.line.what, f"{cost.line.units:,.0f}", per_task, f"{of.usd:g} / {of.per:,.0f}", _usd(cost.month_usd))
        )
    total = sum(cost.month_usd for cost in costs)
    rows.append(("in all", "", "", "", _usd(total)))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    per_million = _per_million(total, tasks)
    tail = [f"List prices of {prices.region}, {prices.date} ({prices.source}); a month has {DAYS} days."]
    if per_million is not None:
        tail.insert(0, f"{_usd(per_million)} $ a million tasks.")
    return "\n".join([*(line.rstrip() for line in lines), "", *tail])


def _per_million(total: float, tasks: float) -> float | None:
    return round(total / (tasks * DAYS) * 1_000_000, 6) if tasks else None


def _usd(value: float) -> str:
    return "< 0.01" if 0 < value < CENT else f"{value:,.2f}"
