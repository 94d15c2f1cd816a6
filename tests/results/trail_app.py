"""An application whose tasks call other tasks; the processes of a pool import it too."""

from __future__ import annotations

from typing import Any

from taskq_cloud import TaskQ, chain, chord, group

app = TaskQ("trail", broker="memory://", results="memory://")


@app.task(name="leaf")
def leaf(*values: Any) -> Any:
    return list(values)


@app.task(name="ignored", ignore_result=True)
def ignored() -> None:
    pass


@app.task(name="calls")
def calls(number: int) -> list[str]:
    return [leaf.delay(each).id for each in range(number)]


@app.task(name="acalls")
async def acalls(number: int) -> list[str]:
    return [(await leaf.adelay(each)).id for each in range(number)]


@app.task(name="calls_and_fails")
def calls_and_fails(number: int) -> None:
    calls(number)
    raise ValueError("bad")


@app.task(name="no_trail", trail=False)
def no_trail() -> str:
    return leaf.delay().id


@app.task(name="calls_in_each_way")
def calls_in_each_way() -> Any:
    sides = group(leaf.s(1), leaf.s(2)).delay()
    line: Any = chain(leaf.s(3), leaf.s()).delay()
    joined: Any = chord([leaf.s(4)], leaf.s()).delay()
    mapped = leaf.map_async([(5,), (6,)])
    named = app.send_task("leaf", (7,))
    for sig in (leaf.s(8), group(leaf.s(8)), chain(leaf.s(8), leaf.s())):
        sig.apply_async(add_to_parent=False)
    leaf.apply_async((8,), add_to_parent=False)
    ignored.delay()
    group(ignored.s()).delay()
    leaf.apply((9,))
    return [*(each.id for each in sides), line.parent.id, joined.parent[0].id, *(each.id for each in mapped), named.id]
