"""A check of the doctor as a value: the resources that it compares, its expectation, and a difference's consequence.

The tables of checks are in the ``checks_*`` modules, one for each kind of resource. A check makes no calls: it is a
function of the declared topology and of the observations of ``observe``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from taskq_cloud.deploy import policy_documents
from taskq_cloud.deploy.doctor.finding import Finding, Severity
from taskq_cloud.deploy.doctor.matching import Kind, Pair
from taskq_cloud.deploy.doctor.observed import Observed
from taskq_cloud.deploy.topology.model import Topology
from taskq_cloud.settings import Settings

D = TypeVar("D")
PairT = TypeVar("PairT", bound=Pair[object, object])
Text: TypeAlias = str | Callable[[PairT], str]
"""A text, or a function that writes it for one resource."""

NOT_DEPLOYED: Final = "it is declared, but it does not exist"

NOT_YOUR_KEY: Final = (
    "what it keeps is under a key that you can neither audit nor revoke, or that the declared roles may not use"
)

_SETTINGS: Final = frozenset(f"TASKQ_{name.upper()}" for name in Settings.model_fields)
_OF_PLATFORM: Final = frozenset({"TASKQ_WORKER_HEALTH_PORT", "TASKQ_WORKER_SHUTDOWN_TIMEOUT"}) | {
    # On Google Cloud, the address of the queue for delays, which is known once it is made.
    "TASKQ_BROKER_TRANSPORT_OPTIONS"
}
"""Settings that Terraform's modules give to the containers of a platform, whatever the application declares."""


@dataclass(frozen=True, slots=True)
class Check(Generic[PairT]):
    """One check of docs/doctor.md.

    Args:
        name: its name there: ``"queue.visibility"``. Two checks share a name where some differences are errors and
            others are warnings.
        pairs: yields the resources to compare.
        expect: compares one pair; returns the difference in words, or None if the resource is as expected.
        consequence: what the difference leads to.
        remedy: what to do about the difference; None: the usual remedy for this kind of resource.
        severity: how bad the difference is.
    """

    name: str
    pairs: Callable[[Topology, Observed], Iterable[PairT]]
    expect: Callable[[PairT], str | None]
    consequence: Text[PairT]
    remedy: Text[PairT] | None = None
    severity: Severity = "error"

    def run(self, topology: Topology, observed: Observed) -> Iterator[Finding]:
        """Compare every pair; yield a finding for each difference."""
        for pair in self.pairs(topology, observed):
            difference = self.expect(pair)
            if difference is not None:
                texts = (self.consequence, self.remedy or pair.remedy)
                consequence, remedy = (text if isinstance(text, str) else text(pair) for text in texts)
                yield Finding(self.name, pair.resource, self.severity, difference, consequence, remedy)


def missing(name: str, kind: Kind[D, object], consequence: Text[Pair[D, None]]) -> Check[Pair[D, None]]:
    """Return a check that expects every declared resource of a kind to exist."""
    return Check(name, kind.missing, lambda _: NOT_DEPLOYED, consequence)


def require(condition: bool, difference: str) -> str | None:
    """Return the difference unless a condition holds."""
    return None if condition else difference


def equal(live: object, declared: object, difference: str) -> str | None:
    """Return the difference unless both values are equal; its two ``{}`` become the live and the declared value."""
    return require(live == declared, difference.format(live, declared))


def at_least(live: float, least: float, difference: str) -> str | None:
    """Return the difference if the live value is too small; its two ``{}`` become the live and the least value."""
    return require(live >= least, difference.format(live, least))


def unless(first: Callable[[PairT], str | None], then: Callable[[PairT], str | None]) -> Callable[[PairT], str | None]:
    """Return an expectation that finds what ``then`` finds, except where ``first`` already finds a difference."""
    return lambda pair: None if first(pair) is not None else then(pair)


class Encrypted(Protocol):
    """An observed resource that a key encrypts."""

    @property
    def kms_key(self) -> str | None:
        """The key; None: a key of the service itself."""
        ...


def own_key(pair: Pair[object, Encrypted]) -> str | None:
    """Return a difference unless the declared key, or without one a key of the service itself, encrypts a resource."""
    return same_key(pair.live.kms_key, pair.topology.kms_key_arn)


def same_key(live: str | None, declared: str | None) -> str | None:
    """Return a difference unless two keys are the same; None is a key of the service itself."""
    service = "a key of the service itself"
    return equal(live or service, declared or service, "it is encrypted with {}; {} is declared")


def same_variables(live: Mapping[str, str], declared: Mapping[str, str]) -> str | None:
    """Return a difference unless every declared environment variable is set as declared; others may be there."""
    changed = sorted(name for name, value in declared.items() if live.get(name) != value)
    return require(not changed, f"these variables are not as declared: {', '.join(changed)}")


def no_other_settings(live: Mapping[str, str], declared: Mapping[str, str]) -> str | None:
    """Return a difference if variables set settings of the application that the declaration leaves alone."""
    others = sorted(live.keys() & _SETTINGS - _OF_PLATFORM - declared.keys())
    return require(not others, f"these variables are set and not declared: {', '.join(others)}")


def denies_without_tls(policy: Mapping[str, Any] | None, service: str, resources: Sequence[str]) -> str | None:
    """Return a difference unless the policy of a queue or a bucket denies every request without TLS."""
    denies = policy_documents.denies_without_tls(policy, service, resources)
    return require(denies, "no policy denies all requests without TLS")
