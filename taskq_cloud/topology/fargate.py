"""The sizes of containers that Fargate has; the module ``container_worker`` refuses all others."""

from __future__ import annotations

from typing import Final

from taskq_cloud.errors import ImproperlyConfigured

MEMORY_SIZES_MB: Final[dict[int, tuple[int, ...]]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16_384 + 1, 1024)),
    4096: tuple(range(8192, 30_720 + 1, 1024)),
    8192: tuple(range(16_384, 61_440 + 1, 4096)),
    16_384: tuple(range(32_768, 122_880 + 1, 8192)),
}
"""By CPU units (ECS Developer Guide, "Amazon ECS task definition parameters for Fargate")."""

MOST_QUEUES: Final = 5
"""A service is scaled by two metrics of each of its queues, and an alarm takes ten (CloudWatch User Guide, "CloudWatch
service quotas")."""


def size(where: str, cpu_units: int, memory_mb: int) -> tuple[int, int]:
    """The smallest container that has as much of both: CPU units and memory in MiB.

    Args:
        where: what the container is for, for the error.
        cpu_units: those asked for, at least.
        memory_mb: likewise, in MiB.

    Raises:
        ImproperlyConfigured: there is none.
    """
    for cpu, sizes in MEMORY_SIZES_MB.items():
        fitting = [memory for memory in sizes if memory >= memory_mb]
        if cpu >= cpu_units and fitting:
            return cpu, fitting[0]
    largest = max(MEMORY_SIZES_MB)
    raise ImproperlyConfigured(
        f"{where}: Fargate has no container of {cpu_units} CPU units and {memory_mb} MiB of memory; its largest has"
        f" {largest} and {MEMORY_SIZES_MB[largest][-1]}: lower cpu_units, or memory_mb of the service or of its tasks"
    )


def check_queues(where: str, queues: tuple[str, ...]) -> None:
    """Refuse more queues than one service is scaled by.

    Raises:
        ImproperlyConfigured: says how to spread them.
    """
    if len(queues) > MOST_QUEUES:
        raise ImproperlyConfigured(
            f"{where}: it would serve {len(queues)} queues ({', '.join(queues)}), and one service is scaled by"
            f" {MOST_QUEUES} at most: give some of them to another by deployment's services"
        )
