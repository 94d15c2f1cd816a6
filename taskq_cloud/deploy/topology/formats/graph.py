"""Draws a topology: queues with their senders and receivers, and the stores of results; in DOT or in Mermaid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from taskq_cloud.deploy.topology.model import Server, Topology

_SHAPES: Final = {
    "bucket": "folder",
    "function": "component",
    "queue": "cds",
    "schedule": "note",
    "server": "cylinder",
    "service": "box3d",
    "table": "cylinder",
}
_BRACKETS: Final = {
    "bucket": ("[(", ")]"),
    "function": ("[", "]"),
    "queue": ("([", "])"),
    "schedule": (">", "]"),
    "server": ("[(", ")]"),
    "service": ("[[", "]]"),
    "table": ("[(", ")]"),
}


@dataclass(frozen=True, slots=True)
class Node:
    """A deployed resource."""

    id: str
    kind: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow from one resource to another, in the direction of the messages."""

    begin: str
    end: str
    label: str = ""


def drawing(topology: Topology) -> tuple[list[Node], list[Edge]]:
    """Return the nodes and edges of the drawing."""
    nodes: list[Node] = []
    edges: list[Edge] = []
    places = {**{each.queue: each.name for each in topology.queues}, **_topics(topology)}
    places |= {each.queue: each.queue for each in topology.server_queues}
    for queue, name in places.items():
        nodes.append(Node(f"queue:{queue}", "queue", (name, *_tasks(topology, queue))))
    servers = [
        *(("function", each.name, (each.queue,), f"{each.timeout_seconds} s") for each in topology.functions),
        *(("service", each.name, each.queues, f"{each.maximum_tasks} at most") for each in topology.services),
    ]
    stores = [*(f"table:{each.name}" for each in topology.tables), *(f"bucket:{b.name}" for b in topology.buckets)]
    stores += [f"server:{each.name}" for each in topology.servers if any(use.role == "results" for use in each.uses)]
    for kind, name, queues, detail in servers:
        nodes.append(Node(f"{kind}:{name}", kind, (name, detail)))
        edges += [Edge(f"queue:{queue}", f"{kind}:{name}") for queue in queues]
        edges += [Edge(f"{kind}:{name}", store) for store in stores]
    nodes += [Node(f"table:{each.name}", "table", (each.name,)) for each in topology.tables]
    nodes += [Node(f"bucket:{each.name}", "bucket", (each.name,)) for each in topology.buckets]
    nodes += [Node(f"server:{each.name}", "server", _address(each)) for each in topology.servers]
    periodic = [
        *((each.name, each.expression, each.queue) for each in topology.schedules),
        *((each.name, each.schedule, each.queue) for each in topology.scheduler_jobs),
    ]
    for name, expression, queue in periodic:
        nodes.append(Node(f"schedule:{name}", "schedule", (name, expression)))
        edges.append(Edge(f"schedule:{name}", f"queue:{queue}"))
    for each_queue in topology.queues:
        dead = each_queue.dead_letter_queue.name
        nodes.append(Node(f"queue:{dead}", "queue", (dead,)))
        edges.append(Edge(f"queue:{each_queue.queue}", f"queue:{dead}", f"after {each_queue.max_receive_count}"))
    for each_server in topology.servers:
        edges += [Edge(f"server:{each_server.name}", f"queue:{each.queue}") for each in each_server.queues]
    return nodes, edges


def write(topology: Topology) -> str:
    """Write the drawing in DOT, for Graphviz."""
    nodes, edges = drawing(topology)
    lines = [f"digraph {_quoted(topology.name)} {{", "  rankdir=LR;"]
    for node in nodes:
        label = _quoted("\n".join(node.lines)).replace("\n", "\\n")
        lines.append(f"  {_quoted(node.id)} [shape={_SHAPES[node.kind]}, label={label}];")
    for edge in edges:
        label = f" [label={_quoted(edge.label)}]" if edge.label else ""
        lines.append(f"  {_quoted(edge.begin)} -> {_quoted(edge.end)}{label};")
    return "\n".join([*lines, "}"])


def write_mermaid(topology: Topology) -> str:
    """Write the drawing as a Mermaid flowchart, which GitHub and GitLab display."""
    nodes, edges = drawing(topology)
    ids = {node.id: f"n{number}" for number, node in enumerate(nodes)}
    lines = ["flowchart LR"]
    for node in nodes:
        opening, closing = _BRACKETS[node.kind]
        text = "<br>".join(line.replace('"', "#quot;") for line in node.lines)
        lines.append(f'  {ids[node.id]}{opening}"{text}"{closing}')
    for edge in edges:
        arrow = f'-- "{edge.label}" -->' if edge.label else "-->"
        lines.append(f"  {ids[edge.begin]} {arrow} {ids[edge.end]}")
    return "\n".join(lines)


def _topics(topology: Topology) -> dict[str, str]:
    return {each.queue: each.topic for each in topology.subscriptions}


def _tasks(topology: Topology, queue: str) -> tuple[str, ...]:
    served = {each.queue: each.tasks for each in topology.queues}
    served |= {each.queue: each.tasks for each in topology.subscriptions}
    served |= {each.queue: each.tasks for each in topology.server_queues}
    return tuple(task.name for task in served[queue])


def _address(server: Server) -> tuple[str, ...]:
    return (server.kind, *(f"{each.host}:{each.port}" for each in server.addresses))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
