"""A function restored from a snapshot (SnapStart): each environment has its own sockets, credentials and random state.

A fork of the prepared process plays the restored snapshot: like a snapshot, it has the whole memory of the process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping

import pytest

from emulators.call_counter import CallCounter
from tests.conftest import StackAddress

pytestmark = pytest.mark.slow

FUNCTION = textwrap.dedent(
    """
    import json
    import os
    import random
    import sys
    from pathlib import Path

    import snapshot_restore_py as snapshots
    from taskq_cloud import TaskQ
    from taskq_cloud.core.backoff import RNG

    app = TaskQ("shop", broker="sqs://eu-west-1/shop-", results=sys.argv[1])

    @app.task(name="draw")
    def draw():
        return [RNG.random(), random.random()]

    def sockets():
        return sum("socket:" in os.readlink(each) for each in Path("/proc/self/fd").iterdir() if each.exists())

    before = sockets()
    handler = app.lambda_handler()
    opened = sockets() - before
    for hook, args, kwargs in snapshots.get_before_snapshot():
        hook(*args, **kwargs)
    print(json.dumps({"opened": opened, "kept": sockets() - before}), flush=True)
    states = RNG.getstate(), random.getstate()
    for number in range(2):
        child = os.fork()
        if child == 0:
            forked = RNG.random()
            RNG.setstate(states[0])  # a fork renews these two by itself, a snapshot doesn't
            random.setstate(states[1])
            os.environ["AWS_ACCESS_KEY_ID"] = f"restored{number}"
            for hook, args, kwargs in snapshots.get_after_restore():
                hook(*args, **kwargs)
            drawn = handler({"task": "draw", "id": f"draw{number}"}, None)["result"]
            print(json.dumps([forked, *drawn]), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    """
)


class Keys(CallCounter):
    """Notes the access keys of the calls."""

    def __init__(self, endpoint_url: str) -> None:
        super().__init__(endpoint_url)
        self.seen: list[str] = []

    def look_at_exchange(self, headers: Mapping[str, str], answer: bytes) -> None:
        self.seen.append(headers["authorization"].partition("Credential=")[2].partition("/")[0])


def test_restored_environments_share_nothing_that_must_not_be_shared(
    aws_environment: dict[str, str], local_stack: StackAddress, make_table: Callable[..., str]
) -> None:
    with Keys(local_stack.endpoint_url) as keys:
        environment = {
            **aws_environment,
            "AWS_ENDPOINT_URL": keys.endpoint_url,
            "AWS_LAMBDA_FUNCTION_NAME": "shop",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
        }
        done = subprocess.run(
            [sys.executable, "-c", FUNCTION, f"dynamodb://{make_table()}"],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        prepared, *drawn = map(json.loads, done.stdout.splitlines())
    assert prepared == {"opened": 1, "kept": 0}
    assert len({number for numbers in drawn for number in numbers}) == 6
    first = keys.seen.index("restored0")
    assert set(keys.seen[first:]) == {"restored0", "restored1"}
    assert not {"restored0", "restored1"} & set(keys.seen[:first])
