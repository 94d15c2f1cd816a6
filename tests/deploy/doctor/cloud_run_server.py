"""A gRPC server with the worker pools of Cloud Run, in Google's own messages."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import grpc
from google.cloud import run_v2

from taskq_cloud.deploy.doctor.checks_access import worker_account
from taskq_cloud.deploy.topology.model import Service, Topology
from tests.brokers.pubsub_server import _abort, service_handler
from tests.brokers.pubsub_state import Fault

SERVICE = "google.cloud.run.v2.WorkerPools"


class CloudRunServer:
    """The server; a context manager.

    Attributes:
        pools: full name -> worker pool.
        host: the address, for CLOUD_RUN_EMULATOR_HOST.
    """

    def __init__(self) -> None:
        self.pools: dict[str, run_v2.WorkerPool] = {}
        self.host = ""
        self._server: Any = None

    def __enter__(self) -> Self:
        self._server = grpc.server(ThreadPoolExecutor(4))
        requests = {"GetWorkerPool": run_v2.GetWorkerPoolRequest}
        self._server.add_generic_rpc_handlers([service_handler(self._answer, SERVICE, requests)])
        self.host = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()

    def _answer(self, _: str, request: Any, context: Any) -> Any:
        if request.name not in self.pools:
            return _abort(context, Fault("NOT_FOUND", f"Resource '{request.name}' does not exist."))
        return self.pools[request.name]


def worker_pool(topology: Topology, service: Service) -> run_v2.WorkerPool:
    """Return the worker pool that the Terraform module ``gcp_run_worker`` makes for a service."""
    secret = run_v2.EnvVarSource(secret_key_ref=run_v2.SecretKeySelector(secret="signing", version="latest"))
    set_by_terraform = {
        "TASKQ_WORKER_SHUTDOWN_TIMEOUT": "8",
        "TASKQ_LOG_FORMAT": "json",
        "TASKQ_BROKER_TRANSPORT_OPTIONS": '{"cloud_tasks_queue": "shop-later"}',
    }
    variables = {**set_by_terraform, **service.environment}
    container = run_v2.Container(
        image="shop:1",
        args=service.command,
        env=[
            *(run_v2.EnvVar(name=name, value=value) for name, value in variables.items()),
            run_v2.EnvVar(name="TASKQ_MESSAGE_SIGNING_KEYS", value_source=secret),
        ],
        resources=run_v2.ResourceRequirements(limits={"cpu": "1", "memory": f"{service.memory_mb}Mi"}),
    )
    return run_v2.WorkerPool(
        template=run_v2.WorkerPoolRevisionTemplate(
            service_account=worker_account(topology, service.name), containers=[container]
        ),
        scaling=run_v2.WorkerPoolScaling(manual_instance_count=max(1, service.minimum_tasks)),
    )
