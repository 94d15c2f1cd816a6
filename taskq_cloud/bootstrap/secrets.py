"""Reads secrets that a process of AWS Lambda is given by reference, and sets them as environment variables.

ECS and Cloud Run start a container with the values of its secrets. Lambda can't, and a value among the variables of a
function would be in Terraform's plan and state. So a function has references in ``TASKQ_SECRETS``: a JSON object from
the names of variables to ARNs, in the form that ECS takes. The values are read while the process starts, before the
application is imported, and only for variables that are not set: a child process inherits its parent's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Trouble
from taskq_cloud.core.model.environments import SECRETS_VARIABLE
from taskq_cloud.core.ports import Service
from taskq_cloud.errors import AccessDenied, ImproperlyConfigured, TaskQError, Unreachable

_LEAST_FIELDS: Final = 5
"""The colons of any ARN: ``arn:partition:service:region:account:resource``."""

_SECRET_FIELDS: Final = 7
"""The parts of a secret's own ARN. ECS takes three more: a key of its JSON, a version's stage, and a version's id (ECS
Developer Guide, "Pass Secrets Manager secrets through Amazon ECS environment variables")."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference to a secret.

    Args:
        variable: the environment variable that gets the value.
        arn: the ARN of the secret or the parameter.
        region: its Region.
        call: the call that reads it.
        key: the key of the value if the secret is a JSON object; None: the whole secret.
    """

    variable: str
    arn: str
    region: str
    call: Call
    key: str | None


def load_secrets() -> None:
    """Set the variables that ``TASKQ_SECRETS`` names, unless they are set already.

    Raises:
        ImproperlyConfigured: a reference can't be read, or a secret isn't a JSON object with the named key.
        AccessDenied: a secret does not exist, or may not be read.
        Unreachable: the service did not answer.
    """
    text = os.environ.get(SECRETS_VARIABLE)
    if not text:
        return
    references = [each for each in read_references(text) if each.variable not in os.environ]
    if not references:
        return
    from taskq_cloud.clients.connections import Connections  # few processes have secrets

    for region in sorted({each.region for each in references}):
        services = {name: Service("aws", (("region", region),)) for name in ("secretsmanager", "ssm")}
        connections = Connections(services)
        try:
            values = connections.run(_values([each for each in references if each.region == region]))
        finally:
            connections.close()
        os.environ.update(values)


def read_references(text: str) -> list[Reference]:
    """Read the references in the value of ``TASKQ_SECRETS``.

    Raises:
        ImproperlyConfigured: the value is not a JSON object, or an ARN is not one of a secret or a parameter.
    """
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, Mapping):
        raise ImproperlyConfigured(f"{SECRETS_VARIABLE} isn't a JSON object of variables and ARNs: write it anew")
    return [_reference(str(variable), str(arn)) for variable, arn in found.items()]


def _reference(variable: str, arn: str) -> Reference:
    parts = arn.split(":")
    kind, region = parts[2:4] if arn.startswith("arn:") and len(parts) > _LEAST_FIELDS else ("", "")
    if kind == "secretsmanager" and len(parts) >= _SECRET_FIELDS:
        own, more = ":".join(parts[:_SECRET_FIELDS]), [*parts[_SECRET_FIELDS:], "", "", ""][:3]
        version = {"VersionStage": more[1], "VersionId": more[2]}
        parameters = {"SecretId": own, **{name: value for name, value in version.items() if value}}
        return Reference(variable, own, region, Call(kind, "get_secret_value", parameters), more[0] or None)
    if kind == "ssm" and parts[-1].startswith("parameter/"):
        path = parts[-1].removeprefix("parameter/")
        # A name of several parts begins with a slash, which an ARN leaves out.
        name = f"/{path}" if "/" in path else path
        call = Call(kind, "get_parameter", {"Name": name, "WithDecryption": True})
        return Reference(variable, arn, region, call, None)
    raise ImproperlyConfigured(
        f"{SECRETS_VARIABLE}: {variable}: {arn!r} is neither the ARN of a secret"
        " (arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME) nor of a parameter"
        " (arn:aws:ssm:REGION:ACCOUNT:parameter/NAME)"
    )


def _values(references: list[Reference]) -> Flow[dict[str, str]]:
    answers = yield Gather([each.call for each in references])
    return {each.variable: _value(each, answer) for each, answer in zip(references, answers, strict=True)}


def _value(reference: Reference, answer: Any) -> str:
    where = f"{SECRETS_VARIABLE}: {reference.variable}"
    if isinstance(answer, CallError):
        raise _explained(f"{where}: {reference.arn}", answer) from answer
    if reference.call.service == "ssm":
        return str(answer["Parameter"]["Value"])
    value = answer.get("SecretString")
    if value is None:
        raise ImproperlyConfigured(f"{where}: {reference.arn} is binary, and a variable is text: store it as text")
    if reference.key is None:
        return str(value)
    try:
        return str(json.loads(value)[reference.key])
    except (ValueError, KeyError, TypeError):
        pass
    # The error neither has another one as its context nor shows the secret.
    raise ImproperlyConfigured(f"{where}: {reference.arn} isn't a JSON object with a key {reference.key!r}")


def _explained(where: str, error: CallError) -> TaskQError:
    answer = f"{error.code}: {error.message}"
    if error.trouble in (Trouble.REFUSED, Trouble.CREDENTIALS):
        return AccessDenied(
            f"{where} can't be read ({answer}): create it, or allow the function's role to read it and to decrypt with"
            " its key; Terraform's inputs secrets and secrets_kms_key_arns do"
        )
    return Unreachable(f"{where}: no answer ({answer})")
