"""The operations of RabbitMQ's client, each written once for threads and event loops: see ``rabbitmq``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from taskq_cloud.clients.rabbitmq_consuming import Consumption, Taken
from taskq_cloud.clients.rabbitmq_publishing import UNROUTABLE, publish
from taskq_cloud.clients.rabbitmq_session import RefusedError, Session, Steps

NOT_FOUND: Final = 404

Operation = Callable[[Session, Mapping[str, Any]], Steps[Any]]


def _needs(session: Session, needs: Iterable[tuple[str, Any, Sequence[tuple[Any, ...]]]]) -> Steps[None]:
    """Declare what an operation needs, once for each connection."""
    seconds = session.settings.answer_seconds
    for name, probe, methods in needs:
        if name in session.declared:
            continue
        there = False
        if probe is not None:
            try:
                yield from session.ask_all([probe], seconds)
                there = True
            except RefusedError as error:
                if error.number != NOT_FOUND:
                    raise
        if not there:
            yield from session.ask_all(methods, seconds)
        session.declared.add(name)


def _anew(operation: Operation) -> Operation:
    """Carry out an operation once more if something that was declared before is gone; then it is declared anew."""

    def steps(session: Session, given: Mapping[str, Any]) -> Steps[Any]:
        try:
            return (yield from operation(session, given))
        except RefusedError as error:
            if error.number != NOT_FOUND or session.lost is not None or not session.declared:
                raise
        session.declared.clear()
        return (yield from operation(session, given))

    return steps


def _publish(session: Session, given: Mapping[str, Any]) -> Steps[list[str]]:
    messages, seconds = given["messages"], session.settings.answer_seconds
    yield from _needs(session, given["needs"])
    answers = yield from publish(session, messages, seconds, confirm=given.get("confirm", True))
    lost = [place for place, answer in enumerate(answers) if answer.startswith(UNROUTABLE)]
    if lost and given["needs"]:  # the queue was deleted
        session.declared.difference_update(name for name, _, _ in given["needs"])
        yield from _needs(session, given["needs"])
        again = yield from publish(session, [messages[place] for place in lost], seconds)
        for place, answer in zip(lost, again, strict=True):
            answers[place] = answer
    return answers


def _receive(session: Session, given: Mapping[str, Any]) -> Steps[list[tuple[Any, ...]]]:
    yield from _needs(session, given["needs"])
    queue = given["queue"]
    consumption = session.consumptions.get(queue)
    if consumption is None:
        consumption = session.consumptions[queue] = Consumption(session, queue)
    found = yield from consumption.receive(given["limit"], given["wait_seconds"], given["now"], given["until"])
    place = f"{session.id}:{consumption.channel}:"
    return [_message(f"{place}{each.tag}", each) for each in found]


def _message(receipt: str, taken: Taken) -> tuple[Any, ...]:
    content = taken.content
    arguments = content.method.arguments
    redelivered, exchange, routing_key = arguments[1:4] if content.method.name == "basic.get-ok" else arguments[2:5]
    return receipt, redelivered, exchange, routing_key, content.properties(), content.body


def _settle(session: Session, given: Mapping[str, Any]) -> Steps[None]:
    for channel, tags in _by_channel(session, given["acknowledge"]).items():
        if (consumption := session.consumption_of(channel)) is not None:
            consumption.acknowledge([tag for _, tag in tags])
    for channel, tags in _by_channel(session, given["give_back"]).items():
        if (consumption := session.consumption_of(channel)) is not None:
            consumption.give_back([tag for _, tag in tags])
    yield from ()


def _extend(session: Session, given: Mapping[str, Any]) -> Steps[list[bool]]:
    answers = [False] * len(given["receipts"])
    for channel, tags in _by_channel(session, given["receipts"]).items():
        if (consumption := session.consumption_of(channel)) is not None:
            extended = consumption.extend([tag for _, tag in tags], given["now"], given["until"])
            for (place, _), each in zip(tags, extended, strict=True):
                answers[place] = each
    yield from ()
    return answers


def stop(session: Session) -> Steps[None]:
    """End all consumers, and put back the messages that nobody has taken."""
    for consumption in list(session.consumptions.values()):
        yield from consumption.stop()


def _by_channel(session: Session, receipts: Sequence[str]) -> dict[int, list[tuple[int, int]]]:
    """Sort receipts of this connection by channel: place and delivery tag. Receipts of another one are left out."""
    found: dict[int, list[tuple[int, int]]] = {}
    for place, receipt in enumerate(receipts):
        connection, channel, tag = receipt.split(":")
        if connection == session.id:
            found.setdefault(int(channel), []).append((place, int(tag)))
    return found


def _ask(session: Session, given: Mapping[str, Any]) -> Steps[list[Any]]:
    yield from _needs(session, given.get("needs", ()))
    return (yield from session.ask_all(given["methods"], session.settings.answer_seconds))


PUBLISHING: Final = "publishing"
CONSUMING: Final = "consuming"

OPERATIONS: Final[Mapping[str, tuple[str, Operation]]] = {
    "publish": (PUBLISHING, _anew(_publish)),
    "ask": (PUBLISHING, _anew(_ask)),
    "receive": (CONSUMING, _anew(_receive)),
    "settle": (CONSUMING, _settle),
    "extend": (CONSUMING, _extend),
}
"""Operation -> the connection that makes it, and its steps. A server whose memory or disk is full stops reading from
connections that publish, so acknowledgements have a connection of their own."""
