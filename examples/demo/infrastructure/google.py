"""Google Pub/Sub as a broker and Cloud Storage as a result store, in two emulators."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import grpc
from google.cloud import storage
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from demo.infrastructure.interface import (
    PREFIX,
    QUEUES,
    RESULTS,
    Infrastructure,
    Machine,
    Meter,
    RunningBroker,
    RunningStore,
)
from emulators import object_stores
from emulators.process import Emulator
from taskq_cloud.adapters import dead_letter_queue

PROJECT = "shop-project"
PSTEST = Path(".emulators/pstestd")
"""The program that ``make emulators`` builds, Google's fake of Pub/Sub. It is also looked up in PATH."""

MOST_DELIVERIES = 10
"""Deliveries after which Pub/Sub itself moves a message to the dead-letter topic.

A task that waits for its retry is delivered and returned, which counts as a delivery.
"""


def _pubsub_missing() -> str | None:
    if _pstest() is not None:
        return None
    return (
        "Google's fake of Pub/Sub is not built: run apt-get install golang-go golang-google-cloud-dev, then make demo "
        "builds it; or choose another broker with BROKER"
    )


def _pstest() -> str | None:
    return str(PSTEST.absolute()) if PSTEST.exists() else shutil.which("pstestd")


def _start_pubsub(machine: Machine) -> RunningBroker:
    program = _pstest() or "pstestd"
    fake = Emulator("Google's fake of Pub/Sub", lambda port: [program, "-address", f"127.0.0.1:{port}"])
    host = f"127.0.0.1:{machine.cleanup.enter_context(fake).port}"
    os.environ["PUBSUB_EMULATOR_HOST"] = host
    machine.say(f"Google's fake of Pub/Sub answers at {host}")
    with grpc.insecure_channel(host) as channel:
        publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        for queue in QUEUES:
            dead = _make_topic(publisher, subscriber, dead_letter_queue(queue))
            policy = {"dead_letter_topic": dead, "max_delivery_attempts": MOST_DELIVERIES}
            _make_topic(publisher, subscriber, queue, dead_letter_policy=policy)
    machine.say(
        f"Created the topics {PREFIX}orders and {PREFIX}images in it, their dead-letter topics, and a subscription "
        "for each topic"
    )
    return RunningBroker(
        url=f"pubsub://{PROJECT}/{PREFIX}",
        environment={},
        uncounted={},
        prefix=PREFIX,
        workers={"container": "orders", "container2": "images"},
        start_function=None,
        meter=Meter(
            "Pub/Sub", note="Calls of Pub/Sub are not counted: it speaks gRPC, and the call counter reads HTTP/1.1."
        ),
    )


def _make_topic(publisher: PublisherClient, subscriber: SubscriberClient, queue: str, **policies: object) -> str:
    topic = f"projects/{PROJECT}/topics/{PREFIX}{queue}"
    publisher.create_topic(name=topic)
    never: dict[str, object] = {}
    subscription = {
        "name": f"projects/{PROJECT}/subscriptions/{PREFIX}{queue}",
        "topic": topic,
        "ack_deadline_seconds": 60,
        "expiration_policy": never,
        **policies,
    }
    subscriber.create_subscription(request=subscription)
    return topic


def _start_storage(machine: Machine) -> RunningStore:
    server = machine.cleanup.enter_context(object_stores.gcs_server())
    machine.say(f"fake-gcs-server, an emulator of Google Cloud Storage, answers at {server.url}")
    counter = machine.count_calls(server.url, as_host=True)
    options = {"api_endpoint": server.url}
    client = storage.Client(project=PROJECT, client_options=options, use_auth_w_custom_endpoint=False)
    client.create_bucket(RESULTS)
    client.close()
    machine.say(f"Created the bucket {RESULTS} in it")
    return RunningStore(
        url=f"gs://{RESULTS}?project={PROJECT}",
        environment={"STORAGE_EMULATOR_HOST": counter.endpoint_url},
        uncounted={"STORAGE_EMULATOR_HOST": server.url},
        contents=f"objects in the Google Cloud Storage bucket {RESULTS}",
        key_of="celery-task-meta-{}".format,
        meter=Meter(
            "Cloud Storage",
            counter,
            "Downloads from Cloud Storage are not counted: their links bypass the call counter.",
        ),
    )


PUBSUB = Infrastructure(_start_pubsub, _pubsub_missing)
STORAGE = Infrastructure(_start_storage, object_stores.gcs_server_missing)
