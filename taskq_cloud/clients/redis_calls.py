"""The operations of the Redis client: the commands that each is made of, and its answer. The module has no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha1
from typing import Any, Final

from taskq_cloud.clients.redis_errors import DEMOTED, reply_error
from taskq_cloud.clients.redis_protocol import ErrorReply
from taskq_cloud.core.flows import Call, CallError, Trouble

_UNKNOWN_SCRIPT: Final = "NOSCRIPT"


@lru_cache(maxsize=256)
def _digest(script: str) -> str:
    return sha1(script.encode(), usedforsecurity=False).hexdigest()


def requests(call: Call) -> tuple[Sequence[Sequence[Any]], float]:
    """Return the commands of a call, and how long the server may block.

    Raises:
        CallError: the operation is unknown.
    """
    given = call.parameters
    match call.operation:
        case "script":
            return [_by_digest(given)], 0.0
        case "scripts":
            return [_by_digest(each) for each in given["scripts"]], 0.0
        case "commands":
            return given["commands"], 0.0
        case "wait":
            then = given.get("then")
            commands = [given["command"]] if then is None else [given["command"], _by_digest(then)]
            return commands, given["seconds"]
    text = "the operation must be commands, script, scripts, wait or listen"
    raise CallError(call, "UnknownOperation", text, Trouble.REFUSED)


def has_errors(answers: Sequence[Any]) -> bool:
    """Whether any of the answers is an error."""
    return any(isinstance(answer, ErrorReply) for answer in answers)


def refuses_writes(answers: Sequence[Any]) -> bool:
    """Whether the server has become a replica, so that the next call has to look for the primary."""
    return any(isinstance(answer, ErrorReply) and answer.code in DEMOTED for answer in answers)


def repeated(call: Call, commands: Sequence[Sequence[Any]], answers: Sequence[Any]) -> dict[int, Sequence[Any]]:
    """Return the commands to send again, by their positions: scripts that the server doesn't know yet, as a text."""
    scripts: Sequence[Mapping[str, Any]] = ()
    found: dict[int, Sequence[Any]] = {}
    for position, answer in enumerate(answers):
        if not isinstance(answer, ErrorReply) or answer.code != _UNKNOWN_SCRIPT or call.operation == "commands":
            continue
        scripts = scripts or _scripts(call)
        text = scripts[position - len(answers)]["script"]
        found[position] = ["EVAL", text, *commands[position][2:]]
    return found


def answer_of(call: Call, server: str, answers: Sequence[Any]) -> Any:
    """Return the answer of a call.

    Raises:
        CallError: the server's answer is an error, and the call has one answer.
    """
    if call.operation in ("commands", "scripts"):
        return [reply_error(call, server, each) if isinstance(each, ErrorReply) else each for each in answers]
    for answer in answers:
        if isinstance(answer, ErrorReply):
            raise reply_error(call, server, answer)
    return answers[0] if call.operation == "script" or len(answers) == 1 else list(answers)


def _by_digest(script: Mapping[str, Any]) -> list[Any]:
    keys = script["keys"]
    return ["EVALSHA", _digest(script["script"]), len(keys), *keys, *script.get("args", ())]


def _scripts(call: Call) -> Sequence[Mapping[str, Any]]:
    match call.operation:
        case "script":
            return [call.parameters]
        case "wait":
            return [call.parameters["then"]]
    scripts: Sequence[Mapping[str, Any]] = call.parameters["scripts"]
    return scripts
